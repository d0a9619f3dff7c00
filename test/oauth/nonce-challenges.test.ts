import { dpop } from 'latchkey/oauth'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { OAuthProvider } from '../../demo/oauth/provider.ts'
import { createApp, redirectUri, startProvider } from './setup.ts'

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
afterEach(() => {
  server.intercept = undefined
})

const me = () => `${server.issuer}/me`
const callsOf = (path: string) =>
  server.requests.filter(request => request.path === path && request.method === 'POST').length
const nonceOf = (proof: unknown) =>
  JSON.parse(Buffer.from(String(proof).split('.')[1] ?? '', 'base64url').toString()).nonce as string | undefined

test('a second challenge of the API is the answer, no renewal follows, and the newest nonce is kept', async () => {
  const { session } = createApp(server, { session: { attach: dpop(), renewal: { minIntervalMs: 0 } } })
  await session.signIn()
  const nonces: (string | undefined)[] = []
  let challenges = 0
  server.intercept = (request, response) => {
    if (request.url !== '/me') return false
    nonces.push(nonceOf(request.headers.dpop))
    response.writeHead(401, { 'DPoP-Nonce': `n${++challenges}`, 'WWW-Authenticate': 'DPoP error="use_dpop_nonce"' })
    response.end()
    return true
  }
  const before = callsOf('/token')
  expect((await session.fetch(me())).status).toBe(401)
  await session.fetch(me())
  expect(callsOf('/token')).toBe(before)
  expect(nonces).toEqual([undefined, 'n1', 'n2', 'n3'])
  expect(session.state.status).toBe('signed-in')
})
