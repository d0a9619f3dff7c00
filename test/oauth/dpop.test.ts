import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { clientCredentials, createSession, memoryStorage } from 'latchkey'
import { authorizationCode, deviceCode, discover, dpop, introspect } from 'latchkey/oauth'
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { OAuthProvider } from '../../demo/oauth/provider.ts'
import { causeOf, createApp, failureOf, redirectUri, secrets, startProvider } from './setup.ts'
import { createUser } from './user.ts'

let server: OAuthProvider
let needsNonce = false

beforeAll(async () => {
  const bound = { dpop_bound_access_tokens: true, application_type: 'native' }
  server = await startProvider({
    features: {
      dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => needsNonce },
      clientCredentials: { enabled: true },
      pushedAuthorizationRequests: { enabled: true },
    },
    clients: [
      {
        ...bound,
        client_id: 'app',
        token_endpoint_auth_method: 'none',
        redirect_uris: [redirectUri],
        grant_types: ['authorization_code', 'refresh_token'],
      },
      {
        ...bound,
        client_id: 'tv',
        token_endpoint_auth_method: 'none',
        redirect_uris: [],
        response_types: [],
        grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
      },
      {
        ...bound,
        client_id: 'service',
        token_endpoint_auth_method: 'client_secret_basic',
        client_secret: secrets.basic,
        redirect_uris: [],
        response_types: [],
        grant_types: ['client_credentials'],
      },
    ],
  })
})
afterAll(() => server.close())
afterEach(() => {
  needsNonce = false
  server.intercept = undefined
})

const me = () => `${server.issuer}/me`
const callsOf = (path: string) =>
  server.requests.filter(request => request.path === path && request.method === 'POST').length
const proofOf = (jwt: string) =>
  jwt
    .split('.')
    .slice(0, 2)
    .map(part => JSON.parse(Buffer.from(part, 'base64url').toString()))

describe('dpop() (RFC 9449)', () => {
  test('binds the tokens of a sign-in and its renewals to a key, and proves it to the resource', async () => {
    const attach = dpop()
    const { session } = createApp(server, { session: { attach } })
    await session.signIn()
    expect((await session.fetch(me())).status).toBe(200)
    await session.renew()
    expect((await session.fetch(me())).status).toBe(200)
    const token = await server.provider.AccessToken.find(await session.getAccessToken())
    expect(token?.jkt).toBe(await attach.thumbprint())
  })

  test('a stolen token is useless: alone, as a bearer, and with another key', async () => {
    const { session } = createApp(server, { session: { attach: dpop() } })
    await session.signIn()
    const token = await session.getAccessToken()
    const thief = dpop()
    const attempts: Record<string, string>[] = [
      { Authorization: `DPoP ${token}` },
      { Authorization: `Bearer ${token}` },
      await thief({ method: 'GET', url: me() }, { accessToken: token, tokenType: 'DPoP' }),
    ]
    for (const headers of attempts) expect((await fetch(me(), { headers })).status).toBeGreaterThanOrEqual(400)
    expect((await session.fetch(me())).status).toBe(200)
  })

  test('a proof names the method, the URL without query and fragment, and the token; each is another one', async () => {
    const attach = dpop()
    const prove = async () => {
      const headers = await attach(
        { method: 'PUT', url: 'https://api.example.com/v1/x?secret=1#f' },
        { accessToken: 'tok3n-a', tokenType: 'DPoP' },
      )
      return proofOf(headers.DPoP ?? '')
    }
    const [header, payload] = await prove()
    expect(header).toMatchObject({ typ: 'dpop+jwt', alg: 'ES256', jwk: { kty: 'EC', crv: 'P-256' } })
    expect(Object.keys(header.jwk)).toEqual(['crv', 'kty', 'x', 'y'])
    const ath = Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from('tok3n-a'))).toString('base64url')
    expect(payload).toMatchObject({ htm: 'PUT', htu: 'https://api.example.com/v1/x', ath })
    expect(payload.nonce).toBeUndefined()
    expect((await prove())[1].jti).not.toBe(payload.jti)
  })

  test('an authorization server that hands out bearers is refused', async () => {
    const { session } = createApp(server, {
      session: {
        attach: dpop(),
        async fetch(input, init) {
          const response = await fetch(input, init)
          if (!String(input).endsWith('/token')) return response
          return Response.json({ ...(await response.json()), token_type: 'Bearer' })
        },
      },
    })
    expect(causeOf(await failureOf(session.signIn()))).toBe('token_type')
  })

  test('a device proves its key too, where a nonce is wanted for the one code', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    needsNonce = true
    const attach = dpop()
    let hasAgreed = false
    const session = createSession({
      resources: server.issuer,
      attach,
      grant: deviceCode({
        issuer: server.issuer,
        clientId: 'tv',
        scope: 'openid',
        async onPrompt({ verificationUriComplete = '' }) {
          await createUser({ redirectUri: 'none:', isDevice: true }).visit(verificationUriComplete)
          hasAgreed = true
        },
      }),
    })
    const before = callsOf('/token')
    const signingIn = session.signIn()
    await vi.waitUntil(() => hasAgreed, { interval: 1 })
    await new Promise(resolve => setImmediate(resolve))
    await vi.advanceTimersByTimeAsync(5000)
    await signingIn
    expect(callsOf('/token')).toBe(before + 2)
    const token = await server.provider.AccessToken.find(await session.getAccessToken())
    expect(token?.jkt).toBe(await attach.thumbprint())
  })

  test('what was adopted as a bearer is sent as one', async () => {
    expect(await dpop()({ method: 'GET', url: me() }, { accessToken: 'tok3n-a', tokenType: 'bearer' })).toEqual({
      Authorization: 'Bearer tok3n-a',
    })
  })

  test('latchkey’s own grants prove the key too', async () => {
    needsNonce = true
    const session = createSession({
      resources: server.issuer,
      attach: dpop(),
      grant: clientCredentials({ server: discover(server.issuer), clientId: 'service', clientSecret: secrets.basic }),
    })
    const options = { issuer: server.issuer, clientId: 'service', clientSecret: secrets.basic }
    expect((await introspect(await session.getAccessToken(), options)).cnf?.jkt).toMatch(/^[\w-]{43}$/)
  })
})

describe('nonces (RFC 9449 §8, §9)', () => {
  test('at the pushed request and the token endpoint cost one more request, once', async () => {
    needsNonce = true
    const { session } = createApp(server, { session: { attach: dpop() } })
    const before = [callsOf('/request'), callsOf('/token')]
    await session.signIn()
    // The nonce of the pushed request serves the exchange.
    expect([callsOf('/request'), callsOf('/token')]).toEqual([(before[0] ?? 0) + 2, (before[1] ?? 0) + 1])
    expect(await session.renew()).toEqual({ how: 'renewed' })
    expect(callsOf('/token')).toBe((before[1] ?? 0) + 2)
  })

  test('a second challenge is the answer', async () => {
    const { session } = createApp(server, { session: { attach: dpop() } })
    await session.signIn()
    let challenges = 0
    server.intercept = (request, response) => {
      if (request.url !== '/token') return false
      response.writeHead(400, { 'Content-Type': 'application/json', 'DPoP-Nonce': `n${++challenges}` })
      response.end('{"error":"use_dpop_nonce"}')
      return true
    }
    expect((await failureOf(session.renew())).code).toBe('unreachable')
    expect(challenges).toBe(2)
    expect(session.state.status).toBe('signed-in')
  })
})

describe('a nonce that comes after a redirect', () => {
  test('belongs to the origin that gave it', async () => {
    const nonces: Record<string, unknown[]> = { a: [], b: [] }
    const start = async (name: string, answer: (response: ServerResponse) => unknown) => {
      const resource = createServer((request, response) => {
        nonces[name]?.push(proofOf(String(request.headers.dpop))[1].nonce)
        answer(response)
      }).listen(0, '127.0.0.1')
      onTestFinished(() => void resource.close())
      await once(resource, 'listening')
      return `http://127.0.0.1:${(resource.address() as AddressInfo).port}`
    }
    const b = await start('b', response => response.writeHead(200, { 'DPoP-Nonce': 'of-b', Connection: 'close' }).end())
    const a = await start('a', response => response.writeHead(307, { Location: `${b}/`, Connection: 'close' }).end())
    const session = createSession({
      resources: [a, b],
      attach: dpop(),
      grant: async () => ({ access_token: 'tok3n-never' }),
    })
    await session.adopt({ access_token: 'tok3n-bound', token_type: 'DPoP', expires_in: 60 })
    for (const url of [a, a, b]) expect((await session.fetch(url)).status).toBe(200)
    expect(nonces).toEqual({ a: [undefined, undefined], b: [undefined, 'of-b', 'of-b'] })
  })
})

describe('the key', () => {
  test('is made once for all who ask at once, and of two contexts that make one, both use the first', async () => {
    let stored: CryptoKeyPair | undefined
    let saves = 0
    const keys = {
      load: async () => stored,
      async save(pair: CryptoKeyPair) {
        saves++
        stored ??= pair
      },
    }
    const [one, two] = [dpop({ keys }), dpop({ keys })]
    const thumbprints = await Promise.all([one.thumbprint(), one.thumbprint(), two.thumbprint()])
    expect(new Set(thumbprints).size).toBe(1)
    expect(saves).toBe(2)
    expect(stored?.privateKey.extractable).toBe(false)
  })

  test('a store that fails is asked again', async () => {
    let isDown = true
    const memory = dpop()
    const keys = {
      load: () => (isDown ? Promise.reject(new Error('locked')) : Promise.resolve(undefined)),
      async save() {},
    }
    const attach = dpop({ keys })
    await expect(attach.thumbprint()).rejects.toMatchObject({
      code: 'storage_unavailable',
      retryable: true,
      cause: { message: 'locked' },
    })
    isDown = false
    expect(await attach.thumbprint()).not.toBe(await memory.thumbprint())
  })

  test('that a store never gives keeps nobody waiting, and is asked for again', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    let asked = 0
    const attach = dpop({
      keys: {
        load: () => (++asked === 1 ? new Promise(() => {}) : Promise.resolve(undefined)),
        async save() {},
      },
    })
    const failing = failureOf(attach.thumbprint())
    await vi.advanceTimersByTimeAsync(10_000)
    expect(await failing).toMatchObject({ code: 'storage_unavailable', retryable: true })
    expect(await attach.thumbprint()).toMatch(/^[\w-]{43}$/)
    expect(asked).toBe(3)
  })

  test('that a store can not give now fails the call and the renewal, and ends nothing', async () => {
    let isDown = false
    let stored: CryptoKeyPair | undefined
    const create = (storage: ReturnType<typeof memoryStorage>) => {
      const keys = {
        load: () => (isDown ? Promise.reject(new Error('locked')) : Promise.resolve(stored)),
        async save(pair: CryptoKeyPair) {
          stored = pair
        },
      }
      return createApp(server, { session: { storage, attach: dpop({ keys }) } }).session
    }
    const storage = memoryStorage()
    await create(storage).signIn()
    isDown = true
    const session = create(storage)
    expect((await failureOf(session.fetch(me()))).code).toBe('storage_unavailable')
    const { code, retryable } = await failureOf(session.renew())
    expect([code, retryable]).toEqual(['unreachable', true])
    expect(session.state.status).toBe('signed-in')
    isDown = false
    expect((await session.fetch(me())).status).toBe(200)
  })

  test('comes from the crypto that was passed in', async () => {
    const used: string[] = []
    const { subtle } = globalThis.crypto
    const own = new Proxy(subtle, {
      get(target, name) {
        used.push(String(name))
        const value = Reflect.get(target, name)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    await dpop({ crypto: own }).proof({ method: 'POST', url: 'https://login.example.com/token' })
    expect(new Set(used)).toEqual(new Set(['generateKey', 'exportKey', 'digest', 'sign']))
  })

  test('its thumbprint stands in an authorization request that is not pushed', async () => {
    let url = ''
    const { session } = createApp(server, {
      session: { attach: dpop() },
      open: async given => {
        url = given
        throw new Error('seen')
      },
    })
    await session.signIn().catch(() => {})
    expect(url).toContain('request_uri')
    const attach = dpop()
    const { pushed_authorization_request_endpoint: _, ...metadata } = await discover(server.issuer)({
      fetch,
      signal: new AbortController().signal,
    })
    const grant = authorizationCode({
      server: metadata,
      clientId: 'app',
      redirectUri,
      open: given => {
        url = given
        return Promise.reject(new Error('seen'))
      },
    })
    await createSession({ resources: server.issuer, grant, attach })
      .signIn()
      .catch(() => {})
    expect(new URL(url).searchParams.get('dpop_jkt')).toBe(await attach.thumbprint())
  })
})
