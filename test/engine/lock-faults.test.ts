import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Lock } from '../../src/index.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { createWorld, deferred, settle } from './contexts-fakes.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const named = (name: string) => Object.assign(new Error(name), { name })

/** Time passes for the timers and for the session's clock alike. */
async function pass(world: { clock: { advance(ms: number): void } }, ms: number) {
  for (let rest = ms; rest > 0; rest -= 1000) {
    world.clock.advance(Math.min(rest, 1000))
    await vi.advanceTimersByTimeAsync(Math.min(rest, 1000))
  }
}

function caught(call: Promise<unknown>): Promise<{ value?: unknown; error?: unknown }> {
  return call.then(
    value => ({ value }),
    error => ({ error }),
  )
}

describe('a lock that can never work here', () => {
  const locks: [what: string, request: Lock['request']][] = [
    ['rejects with SecurityError, as in a sandboxed frame', () => Promise.reject(named('SecurityError'))],
    [
      'throws SecurityError',
      () => {
        throw named('SecurityError')
      },
    ],
    ['rejects with InvalidStateError', () => Promise.reject(named('InvalidStateError'))],
    ['is not supported', () => Promise.reject(named('NotSupportedError'))],
    ['resolves without calling back', async () => undefined],
  ]
  it.each(locks)(
    '%s: counts as none, one renewal serves all, and the app is told degraded once',
    async (_what, request) => {
      const world = createWorld()
      const { session, events } = world.context({ lock: { request } })
      await session.adopt(world.server.signIn())
      for (let round = 1; round <= 2; round++) {
        world.clock.advance(301_000)
        const answers = await Promise.all(Array.from({ length: 5 }, () => session.fetch(api)))
        expect(answers.map(({ status }) => status)).toEqual(Array(5).fill(200))
      }
      expect(world.spent).toHaveLength(2)
      expect(events.filter(event => event === 'degraded lock')).toHaveLength(1)
    },
  )
})

describe('a lock whose holder hangs', () => {
  const hanging: Lock = { request: () => new Promise(() => undefined) }

  it('never fails a request whose token works, nor inside the ahead window', async () => {
    const world = createWorld()
    const { session } = world.context({ lock: hanging })
    await session.adopt(world.server.signIn())
    expect((await session.fetch(api)).status).toBe(200)
    await pass(world, 290_000)
    expect((await session.fetch(api)).status).toBe(200)
    expect(world.spent).toEqual([])
  })

  it('is lock_timeout after lockTimeoutMs and one try to take over, and every waiter settles', async () => {
    const world = createWorld()
    const { session } = world.context({ lock: hanging, renewal: { lockTimeoutMs: 10_000 } })
    await session.adopt(world.server.signIn())
    world.clock.advance(301_000)
    const calls = [session.fetch(api), session.getAccessToken(), session.renew()].map(caught)
    await pass(world, 20_000)
    for (const { error } of await Promise.all(calls))
      expect(error).toMatchObject({ code: 'lock_timeout', retryable: true })
    expect(world.spent).toEqual([])
    expect(session.state.status).toBe('signed-in')
  })

  it('is passed over where it gives no sign of life, and its late return changes nothing', async () => {
    const world = createWorld()
    const { session } = world.context()
    await session.adopt(world.server.signIn())
    await settle()
    const frozen = deferred()
    void world.lock.request(world.key, {}, () => frozen.promise).catch(() => 'stolen, as it should be')
    world.clock.advance(301_000)
    const call = caught(session.fetch(api))
    await pass(world, 36_000)
    expect((await call).value).toMatchObject({ status: 200 })
    expect(world.spent).toEqual([secret('refresh-1')])
    frozen.resolve()
    await settle()
    world.clock.advance(301_000)
    expect((await session.fetch(api)).status).toBe(200)
    expect(world.server.stats).toMatchObject({ renewals: 2, reuses: 0 })
  })

  it('is not passed over while the record says that its holder began a moment ago', async () => {
    const world = createWorld()
    const { session } = world.context({ renewal: { lockTimeoutMs: 5000 } })
    await session.adopt(world.server.signIn())
    await settle()
    const busy = deferred()
    void world.lock.request(world.key, {}, () => busy.promise)
    world.clock.advance(301_000)
    const record = JSON.parse(world.items.get(world.key) ?? '')
    world.items.set(world.key, JSON.stringify({ ...record, attempt: { by: 'another', atMs: world.clock.now() } }))
    const call = caught(session.fetch(api))
    await pass(world, 6000)
    expect((await call).error).toMatchObject({ code: 'lock_timeout' })
    expect(world.spent).toEqual([])
    busy.resolve()
  })

  it('is adopted from, when the successor is in the storage after all', async () => {
    const world = createWorld()
    const a = world.context()
    const b = world.context({ renewal: { lockTimeoutMs: 5000 } })
    await a.session.adopt(world.server.signIn())
    await b.session.ready
    await settle()
    b.channel.freeze()
    world.clock.advance(301_000)
    await a.session.renew()
    const busy = deferred()
    void world.lock.request(world.key, {}, () => busy.promise)
    const call = caught(b.session.fetch(api))
    await pass(world, 6000)
    expect((await call).value).toMatchObject({ status: 200 })
    expect(world.spent).toHaveLength(1)
    busy.resolve()
  })
})

describe('a lock that is lost', () => {
  it('before the token is spent ends the renewal without spending it', async () => {
    const world = createWorld()
    const lost = AbortSignal.abort()
    const lock: Lock = { request: async (_name, _options, callback) => callback({ lost }) }
    const { session } = world.context({ lock })
    await session.adopt(world.server.signIn())
    world.clock.advance(301_000)
    expect((await caught(session.fetch(api))).error).toMatchObject({ code: 'lock_timeout' })
    expect(world.spent).toEqual([])
  })

  it('while the answer is on its way does not lose the answer', async () => {
    const world = createWorld()
    const lost = new AbortController()
    const lock: Lock = { request: async (_name, _options, callback) => callback({ lost: lost.signal }) }
    const gate = deferred()
    const { session } = world.context({
      lock,
      grant: async ({ refreshToken }) => {
        const tokens = world.server.rotate(refreshToken)
        await gate.promise
        return tokens as never
      },
    })
    await session.adopt(world.server.signIn())
    await settle()
    world.clock.advance(301_000)
    const call = session.fetch(api)
    await settle()
    lost.abort()
    gate.resolve()
    expect((await call).status).toBe(200)
    expect(world.items.get(world.key)).toContain(secret('refresh-2'))
  })

  it('to a thief, whose successor is stored: the robbed answer is dropped and not revoked', async () => {
    const world = createWorld()
    const gate = deferred()
    const robbed = world.context({
      grant: {
        ...world.grant,
        async renew({ refreshToken }) {
          world.spent.push(`robbed ${refreshToken}`)
          await gate.promise
          return { access_token: secret('late'), refresh_token: secret('late-refresh'), expires_in: 300 }
        },
      },
    })
    await robbed.session.adopt(world.server.signIn())
    await settle()
    robbed.channel.freeze()
    world.clock.advance(301_000)
    const first = caught(robbed.session.fetch(api))
    await settle()
    expect(world.spent).toHaveLength(1)
    const thief = world.context()
    await pass(world, 40_000)
    const second = caught(thief.session.fetch(api))
    await pass(world, 40_000)
    expect((await second).value).toMatchObject({ status: 200 })
    gate.resolve()
    await pass(world, 40_000)
    expect((await first).error).toMatchObject({ code: 'unreachable' })
    expect(world.items.get(world.key)).toContain(secret('refresh-2'))
    expect(world.items.get(world.key)).not.toContain(secret('late'))
    expect(world.revoked).toEqual([])
    robbed.channel.resume()
    await settle()
    expect(await robbed.session.getAccessToken()).toBe(secret('access-2'))
  })
})
