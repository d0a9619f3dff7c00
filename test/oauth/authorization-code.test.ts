import { createSession } from 'latchkey'
import { authorizationCode } from 'latchkey/oauth'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createOAuthProvider, type OAuthProvider } from '../../demo/oauth/provider.ts'
import { createUser } from './user.ts'

const redirectUri = 'http://127.0.0.1:9/callback'
let server: OAuthProvider

beforeAll(async () => {
  server = await createOAuthProvider({
    clients: [
      {
        client_id: 'app',
        token_endpoint_auth_method: 'none',
        redirect_uris: [redirectUri],
        grant_types: ['authorization_code', 'refresh_token'],
        application_type: 'native',
      },
    ],
  })
})
afterAll(() => server.close())

test('a sign-in brings tokens that a renewal replaces', async () => {
  const user = createUser({ redirectUri })
  const session = createSession({
    resources: server.issuer,
    grant: authorizationCode({
      issuer: server.issuer,
      clientId: 'app',
      scope: 'openid offline_access read',
      redirectUri,
      open: user.visit,
    }),
  })
  expect(await session.signIn({ appState: { from: '/here' } })).toEqual({ appState: { from: '/here' } })
  expect(session.state.status).toBe('signed-in')
  const first = await session.getAccessToken()
  expect(await session.renew()).toEqual({ how: 'renewed' })
  expect(await session.getAccessToken()).not.toBe(first)
})
