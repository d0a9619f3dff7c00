import { afterEach, expect, it, vi } from 'vitest'
import { createSession, type GrantContext, passwordGrant, type TokenResponse } from '../../src/index.ts'
import { api, createClock, createStrictServer, user } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

afterEach(() => void vi.useRealTimers())

type Call = (
  session: { fetch: typeof fetch; getAccessToken(): Promise<string> },
  context: GrantContext,
) => Promise<unknown>

function setUp(call: Call) {
  const clock = createClock()
  const inner: unknown[] = []
  let sends = 0
  const session = createSession({
    resources: api,
    clock,
    fetch: async () => new Response(`${++sends}`),
    async grant(_tokens, context): Promise<TokenResponse> {
      try {
        await call(session, context)
      } catch (error) {
        inner.push(error)
        throw error
      }
      return { access_token: secret('new'), expires_in: 60 }
    },
  })
  return { session, clock, inner, sends: () => sends }
}

const told: [string, Call][] = [
  ['fetch, at once', session => session.fetch(`${api}/refresh`)],
  ['getAccessToken, at once', session => session.getAccessToken()],
  [
    'fetch, later, with the signal it was given',
    async (session, { signal }) => {
      await Promise.resolve()
      return session.fetch(`${api}/refresh`, { signal })
    },
  ],
]

it.each(told)(
  'pain 13: a grant that calls its own session by %s, is told reentrant, and nothing hangs',
  async (_how, call) => {
    const { session, clock, inner, sends } = setUp(call)
    await session.adopt({ access_token: secret('old'), refresh_token: secret('r'), expires_in: 60 })
    clock.advance(61_000)
    const error = await session.fetch(api).catch(reason => reason)
    expect(error.name).toBe('SessionError')
    for (const each of inner) expect(each).toMatchObject({ code: 'reentrant' })
    expect(inner.length).toBeGreaterThan(0)
    expect(error.code === 'reentrant' || error.cause === inner.at(-1)).toBe(true)
    expect(sends()).toBe(0)
    expect(session.state.status).toBe('signed-in')
  },
)

it('pain 13: a grant whose call of the session can not be told is ended by the time of the renewal', async () => {
  vi.useFakeTimers()
  const { session, clock, sends } = setUp(async own => {
    await Promise.resolve()
    return own.fetch(`${api}/refresh`)
  })
  await session.adopt({ access_token: secret('old'), refresh_token: secret('r'), expires_in: 60 })
  clock.advance(61_000)
  const call = expect(session.fetch(api)).rejects.toMatchObject({ code: 'unreachable' })
  await vi.advanceTimersByTimeAsync(30_000)
  await call
  await vi.advanceTimersByTimeAsync(60_000)
  expect(sends()).toBe(0)
})

it('pain 13: a token endpoint inside of the resources is asked without the token and without any renewal', async () => {
  const clock = createClock()
  const server = createStrictServer({ clock })
  const carried: (string | null)[] = []
  const session = createSession({
    resources: ['https://login.example.com', api],
    grant: passwordGrant({ tokenEndpoint: 'https://login.example.com/token', clientId: 'app' }),
    clock,
    fetch: (input, init) => {
      const request = new Request(input, init)
      if (request.url.endsWith('/token')) carried.push(request.headers.get('authorization'))
      return server.handle(request)
    },
  })
  await session.signIn(user)
  clock.advance(301_000)
  await session.fetch(api)
  expect(carried).toEqual([null, null])
})
