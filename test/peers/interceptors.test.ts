import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession, type GrantFunction, memoryStorage } from '../../src/index.ts'
import { api, createClock, tokenEndpoint } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { caught, deferred, key, settle, signedIn } from './support.ts'

// What wrappers around an HTTP client were seen to do wrong.
beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

describe('peer 10: the abort of one caller ends the renewal of all, a failure behind the requests is an unhandled rejection, a plain 401 is ignored', () => {
  // At every turn: test/pains/33-one-abort-is-one-callers.test.ts.
  it('the abort of the first leaves the second its token', async () => {
    const gate = deferred()
    const { session, expire, line, server } = await signedIn()
    line.answer = async request => {
      if (request.url === tokenEndpoint) await gate.promise
      return undefined as never
    }
    expire()
    const controller = new AbortController()
    const [a, b] = [caught(session.getAccessToken({ signal: controller.signal })), session.getAccessToken()]
    await settle()
    controller.abort()
    expect((await a).error).toMatchObject({ name: 'AbortError' })
    gate.resolve()
    expect(await b).toBe(secret('access-2'))
    expect(server.stats.renewals).toBe(1)
  })

  it('a renewal that fails behind the requests, also past the end of the token, is nobody’s unhandled rejection', async () => {
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    const { session, clock, tokenAnswers, pass } = await signedIn()
    clock.advance(280_000)
    tokenAnswers(() => Promise.reject(new TypeError('Failed to fetch')))
    expect((await session.fetch(api)).status).toBe(200)
    await pass(60_000)
    vi.useRealTimers()
    await new Promise(resolve => setTimeout(resolve, 5))
    process.off('unhandledRejection', unhandled)
    expect(unhandled).not.toHaveBeenCalled()
  })

  it('a plain 401 renews and is sent again', async () => {
    const { session, clock, server } = await signedIn()
    clock.advance(10_000)
    server.expireAccess()
    expect((await session.fetch(api)).status).toBe(200)
    expect(server.stats).toMatchObject({ renewals: 1, apiRefusals: 1 })
  })
})

describe('peer 11: a stale 401 rotates twice, a token of 60 days makes 360 token calls a second, a network error asks for a new sign-in', () => {
  // In full: test/pains/28-staggered-401s.test.ts.
  it('a 401 about the old token is sent again with the new one, without a second renewal', async () => {
    const gate = deferred()
    const { session, clock, server, line } = await signedIn()
    let slow = 0
    line.answer = async request => {
      if (!request.url.endsWith('/slow') || slow++) return undefined as never
      const answer = await server.handle(request)
      await gate.promise
      return answer
    }
    clock.advance(10_000)
    server.expireAccess()
    const late = session.fetch(`${api}/slow`)
    expect((await session.fetch(api)).status).toBe(200)
    gate.resolve()
    expect((await late).status).toBe(200)
    expect(server.stats).toMatchObject({ renewals: 1, reuses: 0 })
  })

  // In full: test/pains/25-long-lives.test.ts.
  it('a token of 60 days is not renewed in its first day, by a timer or without', async () => {
    for (const keepFresh of [false, true]) {
      const { session, pass, server } = await signedIn({ keepFresh }, 60 * 86_400)
      for (let hour = 0; hour < 24; hour++) await pass(3_600_000)
      await session.fetch(api)
      expect(server.stats).toMatchObject({ renewals: 0, signIns: 1 })
      session.dispose()
    }
  })

  it('a network error is told as one, and nobody has to sign in', async () => {
    const { session, expire, tokenAnswers, pass, server } = await signedIn()
    expire()
    tokenAnswers(() => Promise.reject(new TypeError('Failed to fetch')))
    const call = caught(session.fetch(api))
    await pass(2000)
    expect((await call).error).toMatchObject({ code: 'unreachable', signInRequired: false })
    expect(server.stats.signIns).toBe(1)
  })
})

// In full: test/pains/01-parallel-401s.test.ts.
describe('peer 12: of three 401s at once one recovers', () => {
  it('all three do, with one renewal', async () => {
    const { session, clock, server } = await signedIn()
    clock.advance(10_000)
    server.expireAccess()
    const answers = await Promise.all([1, 2, 3].map(item => session.fetch(`${api}/${item}`)))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(server.stats).toMatchObject({ renewals: 1, apiRefusals: 3 })
  })
})

describe('peer 16: an auth error that comes after the renewal begins a second one', () => {
  it.each([0, 1, 4000, 60_000])(
    'one that comes %d ms after it does not, also where the API says it in a 200',
    async ms => {
      const gate = deferred()
      const { session, clock, server, line } = await signedIn({
        isAuthFailure: async response => (await response.text()).includes('UNAUTHENTICATED'),
      })
      let slow = 0
      line.answer = async request => {
        if (!request.url.startsWith(api)) return undefined as never
        const { status } = await server.handle(request)
        if (request.url.endsWith('/slow') && !slow++) await gate.promise
        return new Response(status === 200 ? '{"data":1}' : '{"errors":["UNAUTHENTICATED"]}')
      }
      clock.advance(10_000)
      server.expireAccess()
      const late = session.fetch(`${api}/slow`)
      expect(await (await session.fetch(api)).json()).toEqual({ data: 1 })
      clock.advance(ms)
      gate.resolve()
      expect(await (await late).json()).toEqual({ data: 1 })
      expect(server.stats).toMatchObject({ renewals: 1, reuses: 0 })
    },
  )
})

const wedges: [what: string, grant: GrantFunction][] = [
  [
    'throws at once',
    () => {
      throw new Error('a bug')
    },
  ],
  ['never settles', () => new Promise(() => undefined)],
]

/** A grant that goes wrong the first time, and what the session made of it. */
async function wedge(first: GrantFunction) {
  const clock = createClock()
  let calls = 0
  const session = createSession({
    resources: api,
    clock,
    grant: (tokens, context) =>
      calls++ ? Promise.resolve({ access_token: secret('new'), expires_in: 300 }) : first(tokens, context),
    fetch: async () => new Response('ok'),
  })
  await session.adopt({ access_token: secret('old'), refresh_token: secret('r'), expires_in: 60 })
  clock.advance(61_000)
  const results = Promise.all([caught(session.fetch(api)), caught(session.fetch(api))])
  await vi.advanceTimersByTimeAsync(61_000)
  clock.advance(61_000)
  return { session, results: await results, calls: () => calls }
}

// In full: test/pains/20-waiters-settle.test.ts.
describe('peer 17: a renewal that throws at once, or never settles, hangs every operation from then on', () => {
  it.each(wedges)('one that %s ends in its time, and the next call renews', async (_what, first) => {
    const { session, results, calls } = await wedge(first)
    for (const { error, value } of results) {
      // Quick retries make up for a throw.
      if (error) expect(error).toMatchObject({ code: 'unreachable', retryable: true })
      else expect(value).toMatchObject({ status: 200 })
    }
    expect((await session.fetch(api)).status).toBe(200)
    expect(calls()).toBe(2)
  })
})

describe('peer 18: a POST that fails on the network is sent twice, and a renewal that throws at once wedges all that follow', () => {
  it.each(['while nothing is renewed', 'while a renewal runs', 'after a renewal'])(
    'a POST is sent once, %s',
    async when => {
      let posts = 0
      const { session, line, clock, expire } = await signedIn()
      line.answer = async request => {
        if (request.url.endsWith('/pay')) {
          posts++
          throw new TypeError('Failed to fetch')
        }
        return undefined as never
      }
      if (when === 'while a renewal runs') expire()
      if (when === 'after a renewal') await session.renew()
      const others = when === 'while a renewal runs' ? [session.fetch(api)] : []
      const pay = caught(session.fetch(`${api}/pay`, { method: 'POST', body: '10 EUR' }))
      expect((await pay).error).toBeInstanceOf(TypeError)
      await Promise.all(others)
      clock.advance(1000)
      await settle()
      expect(posts).toBe(1)
    },
  )

  it('a grant that throws at once is asked again by the next call', async () => {
    const { calls } = await wedge(wedges[0]![1])
    expect(calls()).toBe(2)
  })
})

describe('peer 19: two sessions in one process share their state, and one user’s request carries the other’s token', () => {
  it('each request carries the token of its own session, whatever runs beside it', async () => {
    const storage = memoryStorage()
    const clock = createClock()
    const users = ['alice', 'bob', 'carol'].map(name => {
      let count = 0
      return {
        name,
        session: createSession({
          resources: api,
          name,
          storage,
          clock,
          grant: async () => {
            await settle()
            return { access_token: secret(`${name}-${++count}`), refresh_token: secret(name), expires_in: 60 }
          },
          fetch: async (_input, init) => new Response(new Headers(init?.headers).get('authorization')),
        }),
      }
    })
    for (const { name, session } of users) {
      await session.adopt({ access_token: secret(`${name}-0`), refresh_token: secret(name), expires_in: 60 })
    }
    for (let round = 0; round < 5; round++) {
      const calls = users.flatMap(({ name, session }) =>
        Array.from({ length: 5 }, async () => [name, await (await session.fetch(api)).text()] as const),
      )
      for (const [name, carried] of await Promise.all(calls))
        expect(carried).toBe(`Bearer ${secret(`${name}-${round}`)}`)
      clock.advance(61_000)
    }
  })
})

describe('peer 20: an HTTP 500 makes the expired token fresh again', () => {
  it.each([
    ['a 500 with a message', () => Response.json({ message: 'oops' }, { status: 500 })],
    [
      'a 500 that holds a token',
      () => Response.json({ access_token: secret('of an error'), expires_in: 3600 }, { status: 500 }),
    ],
    ['a 200 with a message', () => Response.json({ message: 'oops' })],
  ])('%s does not: the token stays expired and is never sent', async (_what, answer) => {
    const { session, expire, tokenAnswers, pass, sent, items } = await signedIn()
    expire()
    const before = JSON.parse(items.get(key) ?? '').tokens
    tokenAnswers(answer)
    sent.length = 0
    const call = caught(session.fetch(api))
    await pass(2000)
    expect((await call).error).toMatchObject({ name: 'SessionError', retryable: true })
    expect(sent.filter(({ url }) => url.startsWith(api))).toEqual([])
    expect(JSON.parse(items.get(key) ?? '').tokens).toEqual(before)
    tokenAnswers(undefined)
    await pass(60_000)
    expect((await session.fetch(api)).status).toBe(200)
  })
})
