import { describe, expect, it } from 'vitest'
import { createSession, type TokenStorage } from '../../src/index.ts'
import { api, createClock, createStrictServer } from '../servers/strict-authorization-server.ts'
import { settle } from './support.ts'

/** A storage that notes what it was offered, and keeps each write waiting for some turns. */
function setUp(isAsync: boolean, fails = false) {
  const clock = createClock()
  const server = createStrictServer({ clock })
  const items = new Map<string, string>()
  const offered: string[] = []
  const storage: TokenStorage = {
    scope: 'shared',
    getItem: key => items.get(key),
    setItem(key, value) {
      offered.push(value)
      if (fails && offered.length > 2) throw new Error('full')
      if (!isAsync) return void items.set(key, value)
      return settle().then(() => void items.set(key, value))
    },
    removeItem: key => void items.delete(key),
  }
  const rotated: { access_token: string; refresh_token?: string | null | undefined }[] = []
  const carried: { token: string; wasOffered: boolean }[] = []
  const wasOffered = (token: string) => offered.some(text => text.includes(`"${token}"`))
  const session = createSession({
    resources: api,
    clock,
    storage,
    lock: { request: async (_name, _options, callback) => callback({}) },
    channel: { postMessage() {}, addEventListener() {}, removeEventListener() {}, close() {} },
    grant: async ({ refreshToken }) => {
      const tokens = server.rotate(refreshToken)
      if (!tokens) throw new Error('reused')
      rotated.push(tokens)
      return tokens
    },
    async fetch(input, init) {
      const token = new Headers(init?.headers).get('authorization')?.slice('Bearer '.length) ?? ''
      carried.push({ token, wasOffered: wasOffered(token) })
      return server.fetch(input, init)
    },
  })
  return { session, clock, server, items, rotated, carried, wasOffered }
}

const ways = ['fetch', 'getAccessToken', 'authorizationHeaders', 'renew', 'the event renewed', 'subscribe'] as const

describe.each([
  ['a synchronous storage', false, false],
  ['an asynchronous storage', true, false],
  ['a storage that fails', false, true],
])('pain 57: on %s a rotated pair was offered to it', (_what, isAsync, fails) => {
  it.each(ways)('before anybody hears of it by %s', async way => {
    const { session, clock, server, rotated, carried, wasOffered } = setUp(isAsync, fails)
    await session.adopt(server.signIn())
    clock.advance(301_000)
    const seen: boolean[] = []
    const look = () => {
      const { access_token, refresh_token } = rotated.at(-1) ?? { access_token: 'none' }
      seen.push(wasOffered(access_token) && wasOffered(String(refresh_token)))
    }
    if (way === 'the event renewed') session.on('renewed', look)
    if (way === 'subscribe') session.subscribe(look)
    const acts = {
      fetch: () => session.fetch(api),
      getAccessToken: () => session.getAccessToken(),
      authorizationHeaders: () => session.authorizationHeaders(api),
      renew: () => session.renew(),
      'the event renewed': () => session.renew(),
      subscribe: () => session.renew(),
    }
    const result = await acts[way]()
    look()
    expect(rotated).toHaveLength(1)
    expect(seen.length).toBeGreaterThan(0)
    expect(new Set(seen)).toEqual(new Set([true]))
    for (const each of carried) expect(each.wasOffered).toBe(true)
    // `renew` gives no token away at all.
    if (way === 'renew') expect(result).toEqual({ how: 'renewed' })
  })

  it('and nothing that an app can get holds the refresh token', async () => {
    const { session, clock, server, rotated } = setUp(isAsync, fails)
    await session.adopt(server.signIn())
    clock.advance(301_000)
    const heard: unknown[] = []
    for (const type of ['renewed', 'signed-in', 'storage-failed', 'request'] as const) {
      session.on(type, payload => heard.push(payload))
    }
    heard.push(await session.renew(), await session.getAccessToken(), await session.authorizationHeaders(api))
    await session.fetch(api)
    heard.push(session.state, session.serverState)
    expect(JSON.stringify(heard)).not.toContain(String(rotated[0]?.refresh_token))
  })
})
