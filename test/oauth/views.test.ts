import { clientCredentials, createSession } from 'latchkey'
import { authorizationCode, discover } from 'latchkey/oauth'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OAuthProvider } from '../../demo/oauth/provider.ts'
import { clients, failureOf, redirectUri, secrets, startProvider } from './setup.ts'
import { createUser } from './user.ts'

const [files, mail] = ['https://files.example.com', 'https://mail.example.com'] as const
let server: OAuthProvider

beforeAll(async () => {
  server = await startProvider({
    clients: [
      ...clients,
      {
        client_id: 'service',
        token_endpoint_auth_method: 'client_secret_basic',
        client_secret: secrets.basic,
        redirect_uris: [],
        response_types: [],
        grant_types: ['client_credentials'],
        scope: 'read write',
      },
    ],
    features: {
      clientCredentials: { enabled: true },
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

async function signIn(ownFetch?: typeof fetch) {
  const session = createSession({
    resources: [files, mail],
    ...(ownFetch && { fetch: ownFetch }),
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

  test('ten views and the session renew at once: one line of rotation, and no refresh token is sent twice', async () => {
    // oidc-provider ends the whole grant when a refresh token comes a second time.
    const session = await signIn()
    const spent: string[] = []
    server.intercept = request => {
      if (request.url === '/token')
        request.on('data', part => spent.push(/refresh_token=([^&]+)/.exec(part)?.[1] ?? ''))
      return false
    }
    const views = Array.from({ length: 10 }, (_, index) =>
      session.for({ resource: index % 2 ? mail : files, scope: index % 3 ? 'read' : 'write' }),
    )
    const [renewed, ...tokens] = await Promise.all([session.renew(), ...views.map(view => view.getAccessToken())])
    server.intercept = undefined
    expect(renewed).toEqual({ how: 'renewed' })
    const cuts = tokens.map(token => claimsOf(token)).map(({ aud, scope }) => `${aud} ${scope}`)
    expect(cuts).toEqual(views.map((_, index) => `${index % 2 ? mail : files} ${index % 3 ? 'read' : 'write'}`))
    // Four targets and the session itself.
    expect(spent).toHaveLength(5)
    expect(new Set(spent).size).toBe(5)
    expect(await session.renew()).toEqual({ how: 'renewed' })
  })

  test('a view attaches its token under its resource only', async () => {
    const sent: [url: string, hasToken: boolean][] = []
    const session = await signIn(async (input, init) => {
      const url = String(input)
      if (url.startsWith(server.issuer)) return fetch(input, init)
      sent.push([url, new Headers(init?.headers).has('authorization')])
      return new Response()
    })
    const view = session.for({ resource: mail, scope: 'read' })
    await view.fetch(`${mail}/inbox`)
    await view.fetch(`${files}/all`)
    expect(await view.authorizationHeaders(files)).toEqual({})
    expect(sent).toEqual([
      [`${mail}/inbox`, true],
      [`${files}/all`, false],
    ])
  })

  test('client credentials ask for each view by itself', async () => {
    const session = createSession({
      resources: [files, mail],
      grant: clientCredentials({
        server: discover(server.issuer),
        clientId: 'service',
        clientSecret: secrets.basic,
        scope: 'read write',
        resource: files,
      }),
    })
    const view = session.for({ resource: mail, scope: 'read' })
    expect(claimsOf(await view.getAccessToken())).toMatchObject({ aud: mail, scope: 'read' })
    expect(claimsOf(await session.getAccessToken())).toMatchObject({ aud: files, scope: 'read write' })
  })
})
