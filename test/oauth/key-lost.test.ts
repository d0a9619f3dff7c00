import { memoryStorage } from 'latchkey'
import { type DpopKeys, type DpopOptions, dpop } from 'latchkey/oauth'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { OAuthProvider } from '../../demo/oauth/provider.ts'
import { createApp, failureOf, redirectUri, startProvider } from './setup.ts'

let server: OAuthProvider

beforeAll(async () => {
  server = await startProvider({
    clients: [
      {
        client_id: 'app',
        token_endpoint_auth_method: 'none',
        application_type: 'native',
        redirect_uris: [redirectUri],
        grant_types: ['authorization_code', 'refresh_token'],
        dpop_bound_access_tokens: true,
      },
    ],
  })
})
afterAll(() => server.close())

const me = () => `${server.issuer}/me`

describe('a key that is lost', () => {
  test.each<[string, () => DpopOptions]>([
    ['none is left', () => ({})],
    ['another one is there', () => ({ keys: createKeys() })],
  ])('ends the session with the reason key_lost and without network: %s', async (_, left) => {
    const storage = memoryStorage()
    const first = createApp(server, { session: { storage, attach: dpop({ keys: createKeys() }) } })
    await first.session.signIn()
    first.session.dispose()
    const before = server.requests.length
    for (const call of ['fetch', 'renew', 'getAccessToken'] as const) {
      const { session } = createApp(server, { session: { storage, attach: dpop(left()) } })
      const reasons: string[] = []
      session.on('signed-out', ({ reason }) => reasons.push(reason))
      const calls = call === 'fetch' ? [session.fetch(me()), session.fetch(me())] : [session[call](), session[call]()]
      await Promise.all(calls.map(failureOf)).catch(() => undefined)
      await vi.waitFor(() => expect(session.state).toEqual({ status: 'signed-out', reason: 'key_lost' }))
      expect((await failureOf(session.fetch(me()))).code).toBe('signed_out')
      expect(reasons).toEqual(['key_lost'])
    }
    expect(server.requests.length).toBe(before)
  })

  test('is told at the start, before anybody calls', async () => {
    const storage = memoryStorage()
    await createApp(server, { session: { storage, attach: dpop() } }).session.signIn()
    const { session } = createApp(server, { session: { storage, attach: dpop() } })
    await session.ready
    await vi.waitFor(() => expect(session.state).toEqual({ status: 'signed-out', reason: 'key_lost' }))
    await session.signIn()
    expect((await session.fetch(me())).status).toBe(200)
  })

  test('by a store that fails for the moment, nothing is lost', async () => {
    const storage = memoryStorage()
    const keys = createKeys()
    await createApp(server, { session: { storage, attach: dpop({ keys }) } }).session.signIn()
    let isDown = true
    const attach = dpop({ keys: { ...keys, load: () => (isDown ? Promise.reject(new Error('down')) : keys.load()) } })
    const { session } = createApp(server, { session: { storage, attach } })
    await expect(session.fetch(me())).rejects.toThrow()
    expect(session.state.status).toBe('signed-in')
    isDown = false
    expect((await session.fetch(me())).status).toBe(200)
  })
})

function createKeys(): DpopKeys {
  let stored: CryptoKeyPair | undefined
  return {
    load: async () => stored,
    async save(pair) {
      stored ??= pair
    },
  }
}
