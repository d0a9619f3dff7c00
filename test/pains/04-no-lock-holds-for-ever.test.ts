import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession, type Session, type TokenResponse, type TokenStorage } from '../../src/index.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { caught, createGraceServer, createRealm, createWorld, deferred, pass, settle } from './support.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

// Processes that are stopped and tabs that are frozen: test/processes, test/tabs.
describe('pain 4: a context that holds the lock and is frozen', () => {
  /** One context is frozen in the middle of its renewal: its answer, its messages and its timers stand still. */
  async function frozen(lockTimeoutMs?: number) {
    const world = createWorld()
    const server = createGraceServer(world.clock, 120_000)
    const answer = deferred<TokenResponse>()
    const holder = createRealm(world, {
      fetch: server.fetch,
      grant: async () => answer.promise,
      renewal: { timeoutMs: 2 ** 31 },
    })
    await holder.session.adopt(server.first())
    await settle()
    const other = createRealm(world, {
      fetch: server.fetch,
      grant: server.grant,
      ...(lockTimeoutMs && { renewal: { lockTimeoutMs } }),
    })
    await other.session.ready
    world.clock.advance(301_000)
    const lost = caught(holder.session.fetch(api))
    await settle()
    holder.channel.freeze()
    return { ...world, world, server, answer, holder, other, lost }
  }

  it('costs the others their bound, which is 35 s, and not the session', async () => {
    const { clock, other, server } = await frozen()
    const call = caught(other.session.fetch(api))
    await pass(clock, 36_000)
    expect((await call).value).toMatchObject({ status: 200 })
    expect(server.stats.tokenCalls).toBe(1)
  })

  it.each([0, 1000, 10_000])(
    'costs them a typed error within a bound of %d ms, while it may still be at work',
    async ms => {
      const { clock, other, server } = await frozen(Math.max(ms, 1))
      const call = caught(other.session.fetch(api))
      await pass(clock, Math.max(ms, 1))
      expect((await call).error).toMatchObject({ name: 'SessionError', code: 'lock_timeout', retryable: true })
      expect(server.stats.tokenCalls).toBe(0)
      expect(other.session.state.status).toBe('signed-in')
    },
  )

  it('is taken over by one of those who wait, however many they are; the others adopt what it got', async () => {
    const { world, clock, other, server } = await frozen()
    const slow: typeof server.grant = async (tokens, context) => {
      const answer = await server.grant(tokens, context)
      await new Promise(resolve => setTimeout(resolve, 500))
      return answer
    }
    const more = Array.from({ length: 8 }, () => createRealm(world, { fetch: server.fetch, grant: slow }))
    for (const { session } of more) await session.ready
    const calls = [other, ...more].map(({ session }) => caught(session.fetch(api)))
    await pass(clock, 45_000)
    for (const { value } of await Promise.all(calls)) expect(value).toMatchObject({ status: 200 })
    expect(server.stats.tokenCalls).toBe(1)
  })

  it('does not write over newer tokens when it resumes, and goes on with those', async () => {
    const { clock, items, key, other, holder, answer, lost } = await frozen()
    const call = caught(other.session.fetch(api))
    await pass(clock, 36_000)
    await call
    clock.advance(301_000)
    await other.session.renew()
    const newest = items.get(key)
    expect(newest).toContain(secret('refresh-3'))
    // The predecessor of what is stored by now, as the server answered it before the freeze.
    answer.resolve({ access_token: secret('access-2'), refresh_token: secret('refresh-2'), expires_in: 300 })
    await settle()
    holder.channel.resume()
    await pass(clock, 2000)
    expect(items.get(key)).toBe(newest)
    expect((await lost).value).toMatchObject({ status: 200 })
    expect(await holder.session.getAccessToken()).toBe(secret('access-3'))
  })
})

describe('pain 4: a renewal in which something throws', () => {
  /** A port that throws, or rejects, at the call of that number. */
  function createTrap() {
    const trap = { calls: 0, springsAt: 0 }
    const trip = () => {
      if (++trap.calls === trap.springsAt) throw new Error('a bug in a port')
    }
    return { trap, trip }
  }

  async function renewWith(springsAt: number) {
    const world = createWorld()
    const server = createGraceServer(world.clock, 1e9)
    const { trap, trip } = createTrap()
    const inner = world.storage()
    const storage: TokenStorage = {
      scope: 'shared',
      async getItem(key) {
        trip()
        return inner.getItem(key)
      },
      async setItem(key, value) {
        trip()
        return inner.setItem(key, value)
      },
      removeItem: key => inner.removeItem(key),
    }
    const port = world.network.join()
    const { session } = createRealm(world, {
      storage,
      fetch: server.fetch,
      channel: {
        ...port,
        postMessage(message) {
          trip()
          port.postMessage(message)
        },
      },
      grant: (tokens, context) => {
        trip()
        return server.grant(tokens, context)
      },
      lock: {
        request: (name, options, callback) =>
          world.lock.request(name, options, async grip => {
            await callback(grip)
            trip()
          }),
      },
    })
    for (const type of ['renewed', 'renewal-failed', 'storage-failed', 'degraded'] as const) session.on(type, trip)
    session.subscribe(trip)
    await session.adopt(server.first())
    await settle()
    world.clock.advance(301_000)
    Object.assign(trap, { calls: 0, springsAt })
    const call = caught(session.fetch(api))
    await pass(world.clock, 60_000)
    return { ...world, session, server, calls: trap.calls, first: await call }
  }

  it('releases the lock, wherever it throws, and the session lives on', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => undefined)
    const { calls } = await renewWith(0)
    expect(calls).toBeGreaterThan(6)
    for (let springsAt = 1; springsAt <= calls; springsAt++) {
      const { lock, key, session, clock, first } = await renewWith(springsAt)
      let isFree = false
      void lock.request(key, {}, async () => {
        isFree = true
      })
      await settle()
      expect([springsAt, isFree]).toEqual([springsAt, true])
      if (first.error) expect(first.error).toMatchObject({ name: 'SessionError', retryable: true })
      const next = caught(session.fetch(api))
      await pass(clock, 60_000)
      expect((await next).value).toMatchObject({ status: 200 })
    }
    vi.restoreAllMocks()
  })
})

describe('pain 4: a storage that hangs', () => {
  const never = () => new Promise<never>(() => undefined)
  const methods: [name: string, (session: Session<object>) => Promise<unknown>][] = [
    ['fetch', session => session.fetch(api)],
    ['getAccessToken', session => session.getAccessToken()],
    ['authorizationHeaders', session => session.authorizationHeaders(api)],
    ['renew', session => session.renew()],
    ['adopt', session => session.adopt({ access_token: secret('adopted') })],
    ['signIn', session => session.signIn({})],
    ['signOut', session => session.signOut()],
    ['fetch of a view', session => session.for({ scope: 'x' }).fetch(api)],
  ]
  const hangs = [
    ['reads', 'before the first read', true],
    ['reads', 'later', false],
    ['writes', 'later', false],
    ['reads and writes', 'before the first read', true],
    ['reads and writes', 'later', false],
  ] as const
  const cases = hangs.flatMap(([what, when, isEarly]) =>
    methods.map(([name, act]) => [name, what, when, isEarly, act] as const),
  )

  // `ready` alone waits on: it says when the first read is done.
  it.each(cases)('leaves no %s pending: its %s hang %s', async (_name, what, _when, isEarly, act) => {
    const world = createWorld()
    let isHanging = false
    const inner = world.storage()
    const session = createSession<object>({
      resources: api,
      name: 'test',
      clock: world.clock,
      lock: world.lock,
      channel: world.network.join(),
      fetch: world.server.fetch,
      grant: { ...world.grant, signIn: async () => world.server.signIn() },
      storage: {
        getItem: key => (isHanging && what.includes('reads') ? never() : inner.getItem(key)),
        setItem: (key, value) => (isHanging && what.includes('writes') ? never() : inner.setItem(key, value)),
        removeItem: key => (isHanging && what.includes('writes') ? never() : inner.removeItem(key)),
      },
    })
    if (!isEarly) {
      await session.adopt(world.server.signIn())
      await settle()
      world.clock.advance(301_000)
    }
    isHanging = true
    const call = caught(act(session))
    await pass(world.clock, 15_000)
    const pending = Symbol('pending')
    const result = await Promise.race([call, settle().then(() => pending)])
    expect(result).not.toBe(pending)
    const { error } = result as { error?: { code: string } }
    if (error) expect(error).toMatchObject({ name: 'SessionError', code: 'storage_unavailable' })
  })
})
