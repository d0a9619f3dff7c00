import { clientCredentials, createSession } from 'latchkey'
import { authorizationCode, clientSecretJwt, discover, introspect, privateKeyJwt, tokenExchange } from 'latchkey/oauth'
import { generateKeyPair } from 'oauth4webapi'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OAuthProvider } from '../../demo/oauth/provider.ts'
import { createApp, failureOf, redirectUri, secrets, startProvider } from './setup.ts'

const exchangeGrant = 'urn:ietf:params:oauth:grant-type:token-exchange'
let server: OAuthProvider
let key: CryptoKey

beforeAll(async () => {
  const pair = await generateKeyPair('ES256', { extractable: true })
  key = pair.privateKey as CryptoKey
  const jwk = {
    ...(await crypto.subtle.exportKey('jwk', pair.publicKey as CryptoKey)),
    kid: 'one',
    alg: 'ES256',
    use: 'sig',
  }
  const service = { redirect_uris: [], response_types: [] }
  const app = {
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    application_type: 'native',
  }
  server = await startProvider({
    features: { clientCredentials: { enabled: true }, pushedAuthorizationRequests: { enabled: true } },
    configuration: {
      clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt'],
    },
    clients: [
      {
        ...app,
        client_id: 'app',
        token_endpoint_auth_method: 'none',
        grant_types: ['authorization_code', 'refresh_token'],
      },
      { ...app, client_id: 'jwt', token_endpoint_auth_method: 'client_secret_jwt', client_secret: secrets.jwt },
      { ...app, client_id: 'key', token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [jwk] } },
      {
        ...service,
        client_id: 'service',
        token_endpoint_auth_method: 'client_secret_basic',
        client_secret: secrets.basic,
        grant_types: ['client_credentials', exchangeGrant],
      },
    ],
  })
  registerExchange(server)
})
afterAll(() => server.close())

/** A minimal RFC 8693: the subject's access token for one of the client's own. */
function registerExchange({ provider }: OAuthProvider): void {
  const handler = async (ctx: {
    oidc: { client: object; params: Record<string, string> }
    body: unknown
    status: number
  }) => {
    const { client, params } = ctx.oidc
    const subject = await provider.AccessToken.find(params.subject_token ?? '')
    if (!subject) {
      ctx.status = 400
      ctx.body = { error: 'invalid_request', error_description: params.subject_token }
      return
    }
    const AccessToken = provider.AccessToken as unknown as new (options: object) => { save(): Promise<string> }
    const token = new AccessToken({
      accountId: subject.accountId,
      client,
      grantId: subject.grantId,
      gty: 'exchange',
      scope: params.scope,
    })
    ctx.body = {
      access_token: await token.save(),
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      token_type: 'Bearer',
      expires_in: 300,
      scope: params.scope,
      audience: params.audience,
    }
  }
  provider.registerGrantType(exchangeGrant, handler, [
    'subject_token',
    'subject_token_type',
    'audience',
    'scope',
    'resource',
  ])
}

const service = () => ({ issuer: server.issuer, clientId: 'service', clientSecret: secrets.basic })

describe('clients that authenticate by a JWT (RFC 7523)', () => {
  test.each([
    ['privateKeyJwt', () => ({ clientId: 'key', clientAuth: privateKeyJwt(key, { kid: 'one' }) })],
    ['clientSecretJwt', () => ({ clientId: 'jwt', clientAuth: clientSecretJwt(secrets.jwt) })],
  ])('by %s: pushed request, exchange, renewal and revocation', async (_, options) => {
    const { session, authorizationUrl } = createApp(server, options())
    await session.signIn()
    expect(authorizationUrl().searchParams.has('request_uri')).toBe(true)
    expect(await session.renew()).toEqual({ how: 'renewed' })
    const grant = authorizationCode({ issuer: server.issuer, redirectUri, ...options() })
    const context = { fetch, signal: new AbortController().signal, nowMs: Date.now, minIntervalMs: 0 }
    const accessToken = await session.getAccessToken()
    await grant.revoke?.({ accessToken, tokenType: 'Bearer' }, context)
    expect(await server.provider.AccessToken.find(accessToken)).toBeUndefined()
  })

  test('also where latchkey’s own grants speak to the token endpoint', async () => {
    const session = createSession({
      resources: server.issuer,
      grant: clientCredentials({
        server: discover(server.issuer),
        clientId: 'key',
        clientAuth: privateKeyJwt(key, { kid: 'one' }),
      }),
    })
    expect(await session.getAccessToken()).toMatch(/\S/)
  })

  test('the wrong key is refused', async () => {
    const { privateKey } = await generateKeyPair('ES256')
    const { session } = createApp(server, {
      clientId: 'key',
      clientAuth: privateKeyJwt(privateKey as CryptoKey, { kid: 'one' }),
    })
    expect((await failureOf(session.signIn())).code).toBe('sign_in_failed')
  })
})

describe('tokenExchange (RFC 8693)', () => {
  test('exchanges the subject’s token at the first call, and again instead of a renewal', async () => {
    const { session: subject } = createApp(server)
    await subject.signIn()
    const session = createSession({
      resources: server.issuer,
      grant: tokenExchange({
        ...service(),
        subjectToken: () => subject.getAccessToken(),
        scope: 'read',
        audience: 'inner',
      }),
    })
    const first = await session.getAccessToken()
    expect(first).not.toBe(await subject.getAccessToken())
    expect(session.state).toMatchObject({ status: 'signed-in', scope: 'read' })
    await session.renew()
    expect(await session.getAccessToken()).not.toBe(first)
  })

  test('works with a token endpoint alone', async () => {
    const { session: subject } = createApp(server)
    await subject.signIn()
    const { clientId, clientSecret } = service()
    const grant = tokenExchange({
      tokenEndpoint: `${server.issuer}/token`,
      clientId,
      clientSecret,
      subjectToken: () => subject.getAccessToken(),
    })
    const session = createSession({ resources: server.issuer, grant })
    expect(await session.getAccessToken()).toMatch(/\S/)
  })

  test('a subject token that the server does not take is sign_in_failed', async () => {
    const session = createSession({
      resources: server.issuer,
      grant: tokenExchange({ ...service(), subjectToken: () => 'tok3n-made-up' }),
    })
    const error = await failureOf(session.getAccessToken())
    expect(error.code).toBe('sign_in_failed')
    expect(JSON.stringify(error)).not.toContain('tok3n-')
  })
})

describe('introspect (RFC 7662)', () => {
  test('tells what a token is for', async () => {
    const { session } = createApp(server)
    await session.signIn()
    const token = await session.getAccessToken()
    expect(await introspect(token, service())).toMatchObject({ active: true, client_id: 'app', sub: 'ada' })
    const { clientId, clientSecret } = service()
    const introspectionEndpoint = `${server.issuer}/token/introspection`
    const calls: string[] = []
    const answer = await introspect('tok3n-made-up', {
      introspectionEndpoint,
      clientId,
      clientSecret,
      fetch: (input, init) => {
        calls.push(String(input))
        return fetch(input, init)
      },
    })
    expect(answer).toEqual({ active: false })
    expect(calls).toEqual([introspectionEndpoint])
  })

  test('a wrong client secret is an error', async () => {
    await expect(introspect('tok3n-any', { ...service(), clientSecret: 'tok3n-wrong' })).rejects.toMatchObject({
      status: 401,
      error: 'invalid_client',
    })
  })

  test('an abort ends it', async () => {
    await expect(
      introspect('tok3n-any', { ...service(), signal: AbortSignal.abort(new Error('enough')) }),
    ).rejects.toThrow('enough')
  })
})

describe('discover', () => {
  test('asks nothing until asked, once for all who share it, and keeps no failure', async () => {
    let isDown = true
    const calls: string[] = []
    const ask: typeof fetch = (input, init) => {
      calls.push(String(input))
      return isDown ? Promise.reject(new TypeError('fetch failed')) : fetch(input, init)
    }
    const server_ = discover(server.issuer)
    const context = () => ({ fetch: ask, signal: new AbortController().signal })
    expect(calls).toEqual([])
    await expect(server_(context())).rejects.toThrow(/could not be reached/)
    isDown = false
    const [one, two] = await Promise.all([server_(context()), server_(context())])
    expect(one).toBe(two)
    expect(await server_(context())).toBe(one)
    expect(calls).toEqual(Array(2).fill(`${server.issuer}/.well-known/openid-configuration`))
  })

  test('one caller’s abort is nobody else’s', async () => {
    const abort = new AbortController()
    const shared = discover(server.issuer)
    const leaving = shared({ fetch, signal: abort.signal })
    const staying = shared({ fetch, signal: new AbortController().signal })
    abort.abort(new Error('left'))
    await expect(leaving).rejects.toThrow('left')
    expect((await staying).issuer).toBe(server.issuer)
  })

  test('falls back to RFC 8414 where there is no OpenID configuration', async () => {
    const calls: string[] = []
    const ask: typeof fetch = async input => {
      calls.push(new URL(String(input)).pathname)
      return String(input).includes('openid')
        ? new Response(null, { status: 404 })
        : Response.json({
            issuer: 'https://login.example.com/tenant',
            token_endpoint: 'https://login.example.com/token',
          })
    }
    const found = await discover('https://login.example.com/tenant')({
      fetch: ask,
      signal: new AbortController().signal,
    })
    expect(found.token_endpoint).toBe('https://login.example.com/token')
    expect(calls).toEqual([
      '/tenant/.well-known/openid-configuration',
      '/.well-known/oauth-authorization-server/tenant',
    ])
  })

  test('that is down makes headless calls unreachable', async () => {
    const grant = clientCredentials({ server: discover('http://127.0.0.1:1'), clientId: 'service' })
    const session = createSession({ resources: 'https://api.example.com', grant })
    expect(await failureOf(session.fetch('https://api.example.com/'))).toMatchObject({
      code: 'unreachable',
      retryable: true,
    })
  })
})
