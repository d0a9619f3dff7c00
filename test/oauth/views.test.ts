import { createSession } from 'latchkey'
import { authorizationCode } from 'latchkey/oauth'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OAuthProvider } from '../../demo/oauth/provider.ts'
import { failureOf, redirectUri, startProvider } from './setup.ts'
import { createUser } from './user.ts'

const [files, mail] = ['https://files.example.com', 'https://mail.example.com'] as const
let server: OAuthProvider

beforeAll(async () => {
  server = await startProvider({
    features: {
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo(_context: unknown, audience: string) {
          if (![files, mail].includes(audience as typeof files)) {
            throw Object.assign(new Error('invalid_target'), {
              error: 'invalid_target',
              status: 400,
              statusCode: 400,
              expose: true,
            })
          }
          return { audience, scope: 'read write', accessTokenFormat: 'jwt', accessTokenTTL: 600 }
        },
      },
    },
  })
})
afterAll(() => server.close())

async function signIn() {
  const session = createSession({
    resources: [files, mail],
    grant: authorizationCode({
      issuer: server.issuer,
      clientId: 'app',
      scope: 'openid offline_access read write',
      resource: [files, mail],
      redirectUri,
      open: createUser({ redirectUri }).visit,
    }),
  })
  await session.signIn()
  return session
}

const claimsOf = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { aud: string; scope: string }

describe('tokens cut to size', () => {
  test('all resources are asked for at authorization, and the first gets the session’s own token (RFC 8707)', async () => {
    const session = await signIn()
    expect(claimsOf(await session.getAccessToken())).toMatchObject({ aud: files, scope: 'read write' })
  })

  test('a view has a token for its resource and scope only, and the session keeps its own', async () => {
    const session = await signIn()
    const own = await session.getAccessToken()
    const view = session.for({ resource: mail, scope: 'read' })
    expect(claimsOf(await view.getAccessToken())).toMatchObject({ aud: mail, scope: 'read' })
    expect(await session.getAccessToken()).toBe(own)
    // The refresh token that the view rotated is the session's.
    expect(await session.renew()).toEqual({ how: 'renewed' })
    expect(claimsOf(await session.getAccessToken())).toMatchObject({ aud: files, scope: 'read write' })
  })

  test('a resource that the server does not know is refused for that view, and the session goes on', async () => {
    const session = await signIn()
    const view = session.for({ resource: 'https://else.example.com' })
    expect(await failureOf(view.getAccessToken())).toMatchObject({ code: 'token_refused', retryable: false })
    expect(session.state.status).toBe('signed-in')
    expect(claimsOf(await session.getAccessToken()).aud).toBe(files)
  })
})
