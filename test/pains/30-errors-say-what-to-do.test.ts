import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  createSession,
  isSessionError,
  memoryStorage,
  passwordGrant,
  refused,
  type SessionError,
  type TokenStorage,
} from '../../src/index.ts'
import { api, createClock, createStrictServer, tokenEndpoint, user } from '../servers/strict-authorization-server.ts'
import { canary, secret } from '../support/no-leaks.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const named = (name: string, message = name) => Object.assign(new Error(message), { name })
const http = (status: number, body: BodyInit | null = null, headers = {}) => new Response(body, { status, headers })
const json = (status: number, body: object) => Response.json(body, { status })
const leaky = { error_description: secret('description'), refresh_token: secret('echoed') }

// What a custom grant may end with, and what that means for a call whose token is dead.
const fromGrants: [what: string, failure: unknown, code: string, details?: object][] = [
  ['fetch failed', new TypeError('fetch failed'), 'unreachable'],
  ['DNS', Object.assign(new TypeError('fetch failed'), { cause: { code: 'ENOTFOUND' } }), 'unreachable'],
  ['connection reset', Object.assign(new Error('read'), { code: 'ECONNRESET' }), 'unreachable'],
  ['TLS', Object.assign(new Error('tls'), { code: 'CERT_HAS_EXPIRED' }), 'unreachable'],
  ['timeout', named('TimeoutError'), 'unreachable'],
  ['AbortError', named('AbortError'), 'unreachable'],
  ['a string', 'invalid_grant', 'unreachable'],
  ['nothing', undefined, 'unreachable'],
  ['a bug', new ReferenceError('x is not defined'), 'unreachable'],
  ['an object with a status', { status: 503 }, 'unreachable'],
  ['401 bare', http(401), 'unreachable'],
  ['401 {detail}', json(401, { detail: 'no' }), 'unreachable'],
  ['401 invalid_client', json(401, { error: 'invalid_client' }), 'unreachable'],
  ['400 empty', http(400), 'unreachable'],
  ['400 invalid_request', json(400, { error: 'invalid_request' }), 'unreachable'],
  ['400 unauthorized_client', json(400, { error: 'unauthorized_client' }), 'unreachable'],
  ['403 HTML', http(403, '<html>'), 'unreachable'],
  ['404', http(404), 'unreachable'],
  ['407', http(407), 'unreachable'],
  ['408', http(408), 'unreachable'],
  ['425', http(425), 'unreachable'],
  ['429', http(429, null, { 'retry-after': '30' }), 'unreachable', { retryAtMs: 1_800_000_091_000 }],
  ['500 invalid_grant', json(500, { error: 'invalid_grant' }), 'unreachable'],
  ['502 HTML', http(502, '<html>'), 'unreachable'],
  ['503', http(503, null, { 'retry-after': '120' }), 'unreachable', { retryAtMs: 1_800_000_181_000 }],
  ['504', http(504), 'unreachable'],
  ['400 invalid_grant', json(400, { error: 'invalid_grant', ...leaky }), 'signed_out', { signInRequired: true }],
  ['401 invalid_grant', json(401, { error: 'invalid_grant' }), 'signed_out', { retryable: false }],
  ['refused()', refused(), 'signed_out', { signInRequired: true }],
  ['refused(cause)', refused(new Error('why')), 'signed_out', { signInRequired: true }],
]

async function failing(grant: () => Promise<never>, more: object = {}) {
  const clock = createClock()
  const session = createSession({ resources: api, grant, clock, fetch: async () => http(200), ...more })
  await session.adopt({ access_token: secret('a'), refresh_token: secret('r'), expires_in: 60 })
  clock.advance(61_000)
  return { session, clock }
}

async function failureOf(call: Promise<unknown>): Promise<SessionError> {
  const caught = call.then(
    () => undefined,
    error => error,
  )
  await vi.advanceTimersByTimeAsync(60_000)
  const error = await caught
  expect(isSessionError(error)).toBe(true)
  return error
}

function expectHelp(error: SessionError): void {
  expect(error.message).toMatch(/^[A-Z].{20,}\.$/s)
  expect(`${error.message} ${error.stack} ${JSON.stringify(error)}`).not.toContain(canary)
}

describe('pain 30: what a renewal ends with', () => {
  it.each(fromGrants)('%s', async (_what, failure, code, details = {}) => {
    const { session } = await failing(() => Promise.reject(failure))
    const events: string[] = []
    session.on('renewal-failed', ({ error }) => events.push(error.code))
    const error = await failureOf(session.fetch(api))
    const isOver = code === 'signed_out'
    expect(error).toMatchObject({ code, retryable: !isOver, signInRequired: isOver, ...details })
    expect(session.state.status).toBe(isOver ? 'signed-out' : 'signed-in')
    expect(events).toEqual([code])
    expectHelp(error)
  })

  it('keeps the failure itself as the cause', async () => {
    const failure = new TypeError('fetch failed')
    const { session } = await failing(() => Promise.reject(failure))
    expect((await failureOf(session.fetch(api))).cause).toBe(failure)
  })

  it('gives the status and OAuth’s error of a token endpoint, and neither its words nor the request', async () => {
    const clock = createClock()
    const server = createStrictServer({ clock })
    const grant = passwordGrant({ tokenEndpoint, clientId: 'app' })
    const session = createSession({ resources: api, grant, clock, fetch: server.fetch })
    await session.signIn(user)
    clock.advance(301_000)
    server.failNext(() => json(400, { error: 'invalid_scope', ...leaky }))
    const error = await failureOf(session.fetch(api))
    expect(error.cause).toMatchObject({ status: 400, error: 'invalid_scope' })
    expect(JSON.stringify(error.cause)).not.toContain(canary)
    expectHelp(error)
  })

  it('an app’s own predicate can call a failure definitive', async () => {
    const { session } = await failing(() => Promise.reject({ status: 400 }), {
      renewal: { isRefused: (error: { status?: number }) => error.status === 400 },
    })
    expect((await failureOf(session.fetch(api))).code).toBe('signed_out')
  })
})

const base = { resources: api, fetch: async () => http(200), grant: async () => ({ access_token: secret('a') }) }
const brokenStorage = (cause: unknown, more: Partial<TokenStorage> = {}): TokenStorage => ({
  ...memoryStorage(),
  getItem: () => Promise.reject(cause),
  ...more,
})

describe('pain 30: what else can go wrong', () => {
  const others: [what: string, code: string, act: () => Promise<unknown>, details?: object][] = [
    ['a call before any sign-in', 'signed_out', () => createSession(base).fetch(api), { signInRequired: true }],
    [
      'the keychain of a locked device',
      'storage_unavailable',
      () => createSession({ ...base, storage: brokenStorage(new Error('-25308')) }).fetch(api),
    ],
    [
      'a storage that hangs',
      'storage_unavailable',
      () =>
        createSession({ ...base, storage: brokenStorage(0, { getItem: () => new Promise(() => undefined) }) }).fetch(
          api,
        ),
    ],
    [
      'a storage that throws',
      'storage_unavailable',
      () =>
        createSession({
          ...base,
          storage: brokenStorage(0, {
            getItem: () => {
              throw new Error('sync')
            },
          }),
        }).getAccessToken(),
    ],
    [
      'a record that nobody can decrypt',
      'signed_out',
      () => createSession({ ...base, storage: brokenStorage({ code: 'storage_corrupt' }) }).fetch(api),
    ],
    [
      'a record that is torn',
      'signed_out',
      () => createSession({ ...base, storage: brokenStorage(0, { getItem: () => '{"v":1,' }) }).fetch(api),
    ],
    ['tokens that are none', 'invalid_token_response', () => createSession(base).adopt({} as never)],
    [
      'a call after dispose',
      'disposed',
      async () => {
        const session = createSession(base)
        session.dispose()
        return session.fetch(api)
      },
    ],
    [
      'a wrong password',
      'sign_in_failed',
      () => signIn(() => json(400, { error: 'invalid_grant', ...leaky })),
      { retryable: false },
    ],
    ['a sign-in while the server is down', 'sign_in_failed', () => signIn(() => http(503)), { retryable: true }],
    [
      'a sign-in without a network',
      'sign_in_failed',
      () => signIn(() => Promise.reject(new TypeError('fetch failed'))),
      { retryable: true },
    ],
    [
      'a sign-in that a later one overtakes',
      'sign_in_cancelled',
      () => {
        const session = createSession({
          ...base,
          grant: passwordGrant({ tokenEndpoint }),
          fetch: () => new Promise(() => undefined),
        })
        const first = session.signIn(user)
        first.catch(() => undefined)
        void session.adopt({ access_token: secret('a') })
        return first
      },
    ],
    [
      'a sign-in of a grant that has none',
      'misconfigured',
      () => (createSession(base) as unknown as { signIn(input: object): Promise<void> }).signIn({}),
    ],
    [
      'a token that would follow a redirect',
      'redirect_refused',
      async () => {
        const session = createSession({
          ...base,
          attach: (_request, tokens) => ({ 'x-key': tokens.accessToken }),
          fetch: async () => http(302, null, { location: 'https://evil.test/' }),
        })
        await session.adopt({ access_token: secret('a') })
        return session.fetch(api)
      },
    ],
  ]

  it.each(others)('%s is %s', async (_what, code, act, details = {}) => {
    const error = await failureOf(act())
    expect(error).toMatchObject({ code, ...details })
    expectHelp(error)
  })

  const misconfigurations: [what: string, options: object, says: RegExp][] = [
    ['no resources', { resources: [] }, /resources: 'https:/],
    ['an unencrypted resource', { resources: 'http://api.example.com' }, /Write https:/],
    ['a resource that is no URL of the web', { resources: 'ftp://x' }, /URL prefix/],
  ]
  it.each(misconfigurations)(
    '%s is misconfigured at createSession, which says what to write',
    (_what, options, says) => {
      expect(() => createSession({ ...base, ...options })).toThrow(expect.objectContaining({ code: 'misconfigured' }))
      expect(() => createSession({ ...base, ...options })).toThrow(says)
    },
  )

  it('no token endpoint is misconfigured where the grant is made', () => {
    expect(() => passwordGrant({} as never)).toThrow(/tokenEndpoint/)
  })

  it('a read-only storage is read_only, and the refresh token is not spent', async () => {
    let renewals = 0
    const memory = memoryStorage()
    const clock = createClock()
    const first = createSession({ ...base, clock, storage: memory })
    await first.adopt({ access_token: secret('a'), refresh_token: secret('r'), expires_in: 60 })
    clock.advance(61_000)
    const session = createSession({
      ...base,
      clock,
      storage: { ...memory, scope: 'shared', readOnly: true },
      grant: async () => ({ access_token: secret(`${++renewals}`) }),
    })
    const error = await failureOf(session.fetch(api))
    expect(error.code).toBe('read_only')
    expectHelp(error)
    expect(renewals).toBe(0)
  })

  it('a lock that is never free is lock_timeout', async () => {
    const { session } = await failing(() => Promise.reject(new Error('not asked')), {
      lock: { request: () => new Promise(() => undefined) },
    })
    const error = await failureOf(session.fetch(api))
    expect(error).toMatchObject({ code: 'lock_timeout', retryable: true })
    expectHelp(error)
  })

  it('the 401 that led to the failure comes along, unread, as challenge', async () => {
    const clock = createClock()
    const session = createSession({
      resources: api,
      clock,
      grant: () => Promise.reject(http(503)),
      fetch: async () => http(401, 'why'),
    })
    await session.adopt({ access_token: secret('a'), refresh_token: secret('r'), expires_in: 60 })
    clock.advance(10_000)
    const error = await failureOf(session.fetch(api))
    expect(error.code).toBe('unreachable')
    expect(await error.challenge?.text()).toBe('why')
  })

  it('a caller’s abort rejects with the caller’s own reason and no SessionError', async () => {
    const { session } = await failing(() => new Promise<never>(() => undefined))
    const reason = { mine: true }
    const controller = new AbortController()
    const call = session.fetch(api, { signal: controller.signal })
    controller.abort(reason)
    await expect(call).rejects.toBe(reason)
  })
})

async function signIn(answer: () => Response | Promise<Response>) {
  const grant = passwordGrant({ tokenEndpoint, clientId: 'app' })
  return createSession({ resources: api, grant, fetch: async () => answer() }).signIn(user)
}
