import { createServer } from 'node:http'
import { authorizationCode } from 'latchkey/oauth'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { OAuthProvider } from '../../demo/oauth/provider.ts'
import { causeOf, createApp, everything, failureOf, redirectUri, secrets, startProvider } from './setup.ts'
import { createUser } from './user.ts'

let server: OAuthProvider

beforeAll(async () => {
  server = await startProvider()
})
afterAll(() => server.close())
afterEach(() => {
  server.intercept = undefined
  vi.useRealTimers()
})

const tokenCalls = () => server.requests.filter(({ path }) => path === '/token').length

describe('a sign-in', () => {
  test('brings tokens that a renewal replaces, and the state of the app', async () => {
    const { session } = createApp(server)
    expect(await session.signIn({ appState: { from: '/here' } })).toEqual({ appState: { from: '/here' } })
    expect(session.state).toMatchObject({ status: 'signed-in', claims: { sub: 'ada' } })
    const first = await session.getAccessToken()
    expect(await session.renew()).toEqual({ how: 'renewed' })
    expect(await session.getAccessToken()).not.toBe(first)
  })

  test('needs no argument', async () => {
    const { session } = createApp(server)
    expect(await session.signIn()).toEqual({})
  })

  test('sends PKCE S256, state and nonce, other ones each time', async () => {
    const one = createApp(server)
    const two = createApp(server)
    await one.session.signIn({ loginHint: 'ada' })
    await two.session.signIn()
    const [first, second] = [one.authorizationUrl().searchParams, two.authorizationUrl().searchParams]
    expect(Object.fromEntries(first)).toMatchObject({
      response_type: 'code',
      client_id: 'app',
      redirect_uri: redirectUri,
      code_challenge_method: 'S256',
      login_hint: 'ada',
    })
    for (const field of ['state', 'nonce', 'code_challenge']) {
      expect(first.get(field)).toMatch(/^[\w-]{43}$/)
      expect(first.get(field)).not.toBe(second.get(field))
    }
  })

  test('with offline_access asks for consent, or for what the app says', async () => {
    const one = createApp(server)
    await one.session.signIn()
    expect(one.authorizationUrl().searchParams.get('prompt')).toBe('consent')
    const two = createApp(server)
    await two.session.signIn({ prompt: 'login consent', scope: 'openid' })
    expect(two.authorizationUrl().searchParams.get('prompt')).toBe('login consent')
    const three = createApp(server, { scope: 'openid' })
    await three.session.signIn()
    expect(three.authorizationUrl().searchParams.has('prompt')).toBe(false)
  })

  test('without openid takes tokens without an id token', async () => {
    const { session } = createApp(server, { scope: 'read' })
    await session.signIn()
    expect(session.state.status).toBe('signed-in')
  })

  test('carries further parameters and all resources to the authorization server', async () => {
    const { session, authorizationUrl } = createApp(server, {
      parameters: { ui_locales: 'de' },
      resource: ['https://one.example', 'https://two.example'],
    })
    await session.signIn().catch(() => undefined)
    expect(authorizationUrl().searchParams.get('ui_locales')).toBe('de')
    expect(authorizationUrl().searchParams.getAll('resource')).toEqual(['https://one.example', 'https://two.example'])
  })

  test.each([
    ['basic', { clientId: 'basic', clientSecret: secrets.basic }],
    ['post', { clientId: 'post', clientSecret: secrets.post, clientAuth: 'client_secret_post' as const }],
  ])('works for a client that authenticates by %s, and so do renewal and revocation', async (_, options) => {
    const { session } = createApp(server, options)
    await session.signIn()
    expect(await session.renew()).toEqual({ how: 'renewed' })
    const token = await session.getAccessToken()
    expect(await server.provider.AccessToken.find(token)).toBeDefined()
    const answered = vi.waitFor(() => expect(server.requests.at(-1)?.path).toBe('/token/revocation'))
    await session.signOut()
    await answered
    await vi.waitFor(async () => expect(await server.provider.AccessToken.find(token)).toBeUndefined())
  })
})

describe('it fails, changes nothing, and the cause names', () => {
  test('access_denied, without the description', async () => {
    const { session } = createApp(server, { user: { refuses: true } })
    const error = await failureOf(session.signIn())
    expect(error).toMatchObject({ code: 'sign_in_failed', retryable: false })
    expect(causeOf(error)).toBe('access_denied')
    expect(everything(error)).not.toContain('The user said no')
    expect(session.state.status).toBe('signed-out')
  })

  test.each<[string, (url: URL) => void]>([
    ['state', url => url.searchParams.set('state', 'another')],
    ['state', url => url.searchParams.delete('state')],
    ['iss', url => url.searchParams.set('iss', 'https://evil.example')],
    ['iss', url => url.searchParams.delete('iss')],
  ])('%s, and no code is sent', async (field, tamper) => {
    const { session } = createApp(server, { tamper })
    const before = tokenCalls()
    const error = await failureOf(session.signIn())
    expect(error.code).toBe('sign_in_failed')
    expect(causeOf(error)).toBe(field)
    expect(tokenCalls()).toBe(before)
  })

  test('state before error: an error with a wrong state is not believed', async () => {
    const { session } = createApp(server, {
      user: { refuses: true },
      tamper: url => url.searchParams.set('state', 'another'),
    })
    expect(causeOf(await failureOf(session.signIn()))).toBe('state')
  })

  test('nonce, of an id token that was made for another sign-in', async () => {
    const user = createUser({ redirectUri })
    const { session } = createApp(server, {
      open(authorizationUrl) {
        const url = new URL(authorizationUrl)
        url.searchParams.set('nonce', 'of-somebody-else')
        return user.visit(url.href)
      },
    })
    const error = await failureOf(session.signIn())
    expect(causeOf(error)).toBe('nonce')
    expect(everything(error)).not.toContain('of-somebody-else')
  })

  test('invalid_grant for a replayed code', async () => {
    // The answer to the first request is lost on the way, and somebody sends the same again.
    const { session } = createApp(server, {
      session: {
        async fetch(input, init) {
          if (String(input).endsWith('/token')) await fetch(input, init)
          return fetch(input, init)
        },
      },
    })
    const error = await failureOf(session.signIn())
    expect(error).toMatchObject({ code: 'sign_in_failed', retryable: false })
    expect(causeOf(error)).toContain('invalid_grant')
  })

  test('invalid_grant for an expired code', async () => {
    const { session } = createApp(server, {
      tamper() {
        vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 120_000 })
      },
    })
    expect(causeOf(await failureOf(session.signIn()))).toContain('invalid_grant')
  })

  test('what open threw', async () => {
    const thrown = new Error('No browser here.')
    const { session } = createApp(server, { open: () => Promise.reject(thrown) })
    const error = await failureOf(session.signIn())
    expect(error).toMatchObject({ code: 'sign_in_failed', retryable: false })
    expect(error.cause).toBe(thrown)
  })

  test('nothing of the codes and claims that were involved', async () => {
    let code = ''
    const { session } = createApp(server, {
      clientId: 'basic',
      clientSecret: 'tok3n-wrong',
      tamper(url) {
        code = url.searchParams.get('code') ?? ''
      },
    })
    const error = await failureOf(session.signIn())
    expect(causeOf(error)).toContain('invalid_client')
    expect(code).not.toBe('')
    expect(everything(error)).not.toContain(code)
    expect(everything(error)).not.toContain('tok3n-')
  })
})

describe('a code is sent once', () => {
  test.each<[string, (response: import('node:http').ServerResponse) => unknown]>([
    ['a 503', response => response.writeHead(503).end()],
    ['a lost answer', response => response.destroy()],
  ])('also after %s, and the error is retryable', async (_, answer) => {
    const { session } = createApp(server)
    const before = tokenCalls()
    server.intercept = (request, response) => {
      if (request.url !== '/token') return false
      answer(response)
      return true
    }
    const error = await failureOf(session.signIn())
    expect(error).toMatchObject({ code: 'sign_in_failed', retryable: true })
    expect(tokenCalls()).toBe(before + 1)
    server.intercept = undefined
    await session.signIn()
    expect(session.state.status).toBe('signed-in')
  })
})

describe('a server that hangs', () => {
  test.each(['/.well-known/openid-configuration', '/token'])(
    'at %s fails the sign-in after 30 s, for now',
    async path => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
      let isAsked = false
      const { session } = createApp(server, {
        session: {
          fetch(input, init) {
            if (new URL(String(input)).pathname !== path) return fetch(input, init)
            isAsked = true
            return new Promise(() => {})
          },
        },
      })
      const failing = failureOf(session.signIn())
      await vi.waitUntil(() => isAsked, { interval: 1 })
      await vi.advanceTimersByTimeAsync(30_000)
      expect(await failing).toMatchObject({ code: 'sign_in_failed', retryable: true })
      expect(session.state.status).toBe('signed-out')
    },
  )
})

describe('a sign-in that is over', () => {
  test('rejects sign_in_cancelled when a later one, or a signOut, takes its place; open is told', async () => {
    const signals: AbortSignal[] = []
    const { session } = createApp(server, {
      open: (_url, { signal }) => {
        signals.push(signal)
        return new Promise<never>(() => {})
      },
    })
    const first = failureOf(session.signIn())
    await vi.waitFor(() => expect(signals).toHaveLength(1))
    const second = failureOf(session.signIn())
    expect((await first).code).toBe('sign_in_cancelled')
    await vi.waitFor(() => expect(signals).toHaveLength(2))
    await session.signOut()
    expect((await second).code).toBe('sign_in_cancelled')
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true])
  })

  test('rejects with the reason of the caller’s signal', async () => {
    const abort = new AbortController()
    const { session } = createApp(server, {
      open: () => {
        abort.abort(new Error('enough'))
        return new Promise<never>(() => {})
      },
    })
    await expect(session.signIn({ signal: abort.signal })).rejects.toThrow('enough')
  })
})

describe('a signOut', () => {
  test('is over in the same tick, and its promise waits for no server that hangs or is not there', async () => {
    for (const fate of ['hangs', 'is gone']) {
      let isDown = false
      const { session } = createApp(server, {
        session: {
          fetch: (input, init) =>
            !isDown
              ? fetch(input, init)
              : fate === 'hangs'
                ? new Promise(() => {})
                : Promise.reject(new TypeError('fetch failed')),
        },
      })
      await session.signIn()
      isDown = true
      const leaving = session.signOut()
      expect(session.state).toEqual({ status: 'signed-out', reason: 'requested' })
      await leaving
    }
  })

  test('with endSession where there is no document says so, after the local end', async () => {
    const { session } = createApp(server)
    await session.signIn()
    const error = await failureOf(session.signOut({ revoke: false, endSession: {} }))
    expect(error.code).toBe('misconfigured')
    expect(session.state.status).toBe('signed-out')
  })

  test('with revoke: false leaves the tokens to whoever has them', async () => {
    const { session } = createApp(server)
    await session.signIn()
    const token = await session.getAccessToken()
    const before = server.requests.length
    await session.signOut({ revoke: false })
    expect(await server.provider.AccessToken.find(token)).toBeDefined()
    expect(server.requests.length).toBe(before)
  })
})

describe('a renewal', () => {
  test('whose refresh token the server revoked ends the session at the end of its access token', async () => {
    const { session } = createApp(server, { session: { renewal: { minIntervalMs: 0 } } })
    await session.signIn()
    server.intercept = (request, response) => {
      if (request.url !== '/token') return false
      response.writeHead(400, { 'Content-Type': 'application/json' }).end('{"error":"invalid_grant"}')
      return true
    }
    const error = await failureOf(session.renew())
    expect(error.signInRequired || error.code === 'signed_out' || error.code === 'token_refused').toBe(true)
  })

  test('that a 503 meets keeps the session and its Retry-After', async () => {
    const { session } = createApp(server)
    await session.signIn()
    server.intercept = (request, response) => {
      if (request.url !== '/token') return false
      response.writeHead(503, { 'Retry-After': '7' }).end()
      return true
    }
    const error = await failureOf(session.renew())
    expect(error).toMatchObject({ code: 'unreachable', retryable: true })
    expect((error.retryAtMs ?? 0) - Date.now()).toBeGreaterThan(5000)
    expect(session.state.status).toBe('signed-in')
  })
})

describe('pushed authorization requests (RFC 9126)', () => {
  let pushing: OAuthProvider
  beforeAll(async () => {
    pushing = await startProvider({ features: { pushedAuthorizationRequests: { enabled: true } } })
  })
  afterAll(() => pushing.close())

  test.each([
    ['a public client', {}],
    ['one with a secret', { clientId: 'basic', clientSecret: secrets.basic }],
  ])('are used where the metadata offers them: the URL of %s holds a reference only', async (_, options) => {
    const { session, authorizationUrl } = createApp(pushing, options)
    await session.signIn()
    expect(session.state.status).toBe('signed-in')
    expect([...authorizationUrl().searchParams.keys()]).toEqual(['client_id', 'request_uri'])
  })

  test('refused, they fail the sign-in', async () => {
    const { session } = createApp(pushing, { redirectUri: 'https://not-registered.example/cb' })
    const error = await failureOf(session.signIn())
    expect(error.code).toBe('sign_in_failed')
    expect(causeOf(error)).toMatch(/invalid_re/)
  })
})

describe('misconfigured', () => {
  test('a token endpoint alone', () => {
    expect(() =>
      authorizationCode({ tokenEndpoint: 'https://login.example.com/token', clientId: 'app' } as never),
    ).toThrow(/issuer/)
  })

  test('an issuer that is neither https nor loopback', () => {
    expect(() => authorizationCode({ issuer: 'http://login.example.com', clientId: 'app' })).toThrow(/https/)
  })

  test('redirect() where there is no document', async () => {
    const { session } = createApp(server, { open: undefined as never })
    expect((await failureOf(session.signIn())).code).toBe('misconfigured')
  })
})

describe('the metadata', () => {
  test('of another issuer: nobody is sent there', async () => {
    const impostor = createServer((_request, response) => {
      response.setHeader('Content-Type', 'application/json')
      response.end(
        JSON.stringify({
          issuer: 'https://evil.example',
          authorization_endpoint: 'https://evil.example/a',
          token_endpoint: 'https://evil.example/t',
        }),
      )
    })
    await new Promise<void>(resolve => impostor.listen(0, '127.0.0.1', resolve))
    const { port } = impostor.address() as import('node:net').AddressInfo
    const { session, user } = createApp({ issuer: `http://127.0.0.1:${port}` })
    const error = await failureOf(session.signIn())
    expect(error.code).toBe('sign_in_failed')
    expect(causeOf(error)).toBe('issuer')
    expect(user.history).toEqual([])
    impostor.close()
  })

  test.each([
    ['authorization_endpoint', 'javascript:alert(1)'],
    ['authorization_endpoint', 'http://login.example.com/auth'],
    ['token_endpoint', 'http://login.example.com/token'],
  ])('whose %s is %s: nobody is sent there, and no code either', async (endpoint, url) => {
    const metadata = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json()
    const sent: string[] = []
    const { session, user } = createApp(server, {
      server: { ...metadata, [endpoint]: url },
      session: {
        fetch: (input, init) => {
          sent.push(String(input))
          return fetch(input, init)
        },
      },
    })
    expect((await failureOf(session.signIn())).code).toBe('misconfigured')
    expect([...user.history, ...sent].filter(visited => !visited.startsWith(server.issuer))).toEqual([])
  })

  test('that cannot be had fails the sign-in for now', async () => {
    const { session } = createApp({ issuer: 'http://127.0.0.1:1' })
    expect(await failureOf(session.signIn())).toMatchObject({ code: 'sign_in_failed', retryable: true })
  })
})
