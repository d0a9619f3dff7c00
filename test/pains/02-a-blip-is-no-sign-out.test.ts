import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession, type GrantFunction, passwordGrant, refused, type SessionOptions } from '../../src/index.ts'
import {
  api,
  createClock,
  createStrictServer,
  refreshEndpoint,
  tokenEndpoint,
  user,
} from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { caught, pass, recordEvents } from './support.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const key = 'latchkey:api.example.com'
type Fault = (request: Request) => Response | Promise<Response>

/** A session that is signed in, its token expired, on a line that can be cut. */
async function setUp(more: Partial<SessionOptions<typeof user>> = {}) {
  const clock = createClock()
  const server = createStrictServer({ clock })
  const items = new Map<string, string>()
  const line: { fault?: Fault | undefined } = {}
  const session = createSession({
    resources: api,
    grant: passwordGrant({ tokenEndpoint, clientId: 'app' }),
    clock,
    storage: {
      getItem: name => items.get(name),
      setItem: (name, value) => void items.set(name, value),
      removeItem: name => void items.delete(name),
    },
    async fetch(input, init) {
      const request = new Request(input, init)
      return line.fault && !request.url.startsWith(api) ? line.fault(request) : server.handle(request)
    },
    ...more,
  })
  const events = recordEvents(session as never)
  await session.signIn(user)
  clock.advance(301_000)
  return { session, events, clock, server, items, line }
}

/** The record without the back-off that contexts share in it. */
function stored(items: Map<string, string>): string {
  const { attempt: _attempt, ...record } = JSON.parse(items.get(key) ?? '{}')
  return JSON.stringify(record)
}

const failure = (error: Error) => () => Promise.reject(error)
const fetchFailed = (code: string) =>
  failure(new TypeError('fetch failed', { cause: Object.assign(new Error(code), { code }) }))
const page = (status: number) => () =>
  new Response('<html>Sign in to the Wi-Fi</html>', { status, headers: { 'content-type': 'text/html' } })

const faults: [what: string, fault: Fault][] = [
  ['being offline, in a browser', failure(new TypeError('Failed to fetch'))],
  ['being offline, in Node', fetchFailed('ENETUNREACH')],
  ['a name that can not be resolved', fetchFailed('ENOTFOUND')],
  ['a TLS failure', fetchFailed('CERT_HAS_EXPIRED')],
  [
    'a server that does not answer',
    ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  ],
  ...[408, 425, 429, 500, 502, 503, 504].map((status): [string, Fault] => [
    `a ${status}`,
    () => new Response(null, { status }),
  ]),
  ['a proxy’s 403 in HTML', page(403)],
  ['a captive portal’s 200 in HTML', page(200)],
  [
    'a 200 with truncated JSON',
    () => new Response('{"access_token":"tr', { headers: { 'content-type': 'application/json' } }),
  ],
  ['an AbortError', failure(new DOMException('The operation was aborted.', 'AbortError'))],
]

describe('pain 2: what happens to a renewal and is no answer about the refresh token', () => {
  it.each(faults)(
    '%s: retryable, nothing stored changes, nobody is signed out, the next call renews',
    async (_what, fault) => {
      const { session, events, clock, server, items, line } = await setUp()
      const before = stored(items)
      line.fault = fault
      const call = caught(session.fetch(api))
      await pass(clock, 31_000)
      const { error } = (await call) as { error: { code: string; retryAtMs: number } }
      expect(error).toMatchObject({ name: 'SessionError', retryable: true, signInRequired: false })
      expect(['unreachable', 'invalid_token_response']).toContain(error.code)
      expect(stored(items)).toBe(before)
      expect(session.state.status).toBe('signed-in')
      line.fault = undefined
      await pass(clock, Math.max(error.retryAtMs - clock.now(), 0) + 30_000)
      expect((await session.fetch(api)).status).toBe(200)
      expect(server.stats).toMatchObject({ renewals: 1, refusals: 0, reuses: 0 })
      expect(events.filter(event => event.startsWith('signed-out'))).toEqual([])
    },
  )

  const unknown: unknown[] = [
    undefined,
    null,
    0,
    '',
    'invalid_grant',
    Symbol('odd'),
    {},
    [],
    new Error('invalid_grant'),
    { status: 401 },
    { error: 'invalid_client' },
    { error: 'server_error' },
    { error: { error: 'invalid_grant' } },
    { message: 'Invalid Refresh Token', code: 400 },
    new Response(null, { status: 401 }),
    new Response('', { status: 400 }),
    Response.json({ error: 'invalid_grant' }, { status: 500 }),
    Response.json('invalid_grant', { status: 400 }),
  ]
  it.each(unknown.map((error, index) => [index, error]))(
    'an error nobody knows (%d) keeps the session',
    async (_index, error) => {
      const { session, clock, items } = await setUp({ grant: grantThatThrows(error) as never })
      const before = stored(items)
      const call = caught(session.fetch(api))
      await pass(clock, 31_000)
      expect((await call).error).toMatchObject({ retryable: true })
      expect(session.state.status).toBe('signed-in')
      expect(stored(items)).toBe(before)
    },
  )
})

/** Signs in as the password grant does, and fails at each renewal. */
const grantThatThrows = (error: unknown) => ({
  signIn: async () => ({ access_token: secret('access'), refresh_token: secret('refresh'), expires_in: 300 }),
  renew: (() => Promise.reject(error)) satisfies GrantFunction,
})

describe('pain 2: what ends a session is a definitive answer about its refresh token alone', () => {
  const answer = (status: number, body: object) => () => Response.json(body, { status })
  const ends: [what: string, Partial<SessionOptions<typeof user>>, Fault][] = [
    ['invalid_grant', {}, answer(400, { error: 'invalid_grant' })],
    [
      'a 401 of an app’s own refreshEndpoint',
      { grant: passwordGrant({ tokenEndpoint, refreshEndpoint, clientId: 'app' }) },
      answer(401, { detail: 'unknown token' }),
    ],
    ['refused()', { grant: grantThatThrows(refused()) }, answer(500, {})],
    [
      'what the app’s own predicate knows',
      { renewal: { isRefused: error => (error as { status?: number }).status === 418 } },
      answer(418, {}),
    ],
  ]
  it.each(ends)('%s', async (_what, options, fault) => {
    const { session, events, clock, items, line } = await setUp(options)
    line.fault = fault
    const call = caught(session.fetch(api))
    await pass(clock, 31_000)
    expect((await call).error).toMatchObject({ code: 'signed_out', retryable: false, signInRequired: true })
    expect(session.state).toEqual({ status: 'signed-out', reason: 'refused' })
    expect(events.filter(event => event.startsWith('signed-out'))).toEqual(['signed-out refused'])
    expect(items.get(key)).not.toContain(secret('refresh'))
  })
})
