import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { SessionOptions, Wake } from '../../src/index.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { caught, createRealm, createWorld, pass, settle } from './support.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const eightHours = 8 * 3_600_000

async function signedIn(options: Partial<SessionOptions<never>> = {}) {
  const world = createWorld()
  const realm = createRealm(world, { wake: [], ...options })
  await realm.session.adopt(world.server.signIn())
  await settle()
  return { ...world, ...realm }
}
type SignedIn = Awaited<ReturnType<typeof signedIn>>

const sleeps: [what: string, sleep: (world: SignedIn) => Promise<void> | void][] = [
  ['a sleep in which the monotonic clock stood still, and no timer ran', ({ clock }) => clock.advanceWall(eightHours)],
  ['a sleep of which both clocks know, and no timer ran', ({ clock }) => clock.advance(eightHours)],
  [
    'a background in which timers ran once a minute',
    async ({ clock }) => {
      for (let minute = 0; minute < 480; minute++) {
        clock.advance(60_000)
        await vi.advanceTimersByTimeAsync(1000)
      }
    },
  ],
]

describe.each(sleeps)('pain 29: after %s of 8 h', (_what, sleep) => {
  it.each([false, true])(
    'the first 20 calls cost one renewal, and none fails (keepFresh: %s, nobody told the session)',
    async keepFresh => {
      const world = await signedIn({ keepFresh })
      await sleep(world)
      const before = world.spent.length
      const calls = Promise.all(Array.from({ length: 20 }, () => caught(world.session.fetch(api))))
      await pass(world.clock, 1000)
      for (const { value } of await calls) expect(value).toMatchObject({ status: 200 })
      expect(world.spent.length - before).toBeLessThanOrEqual(1)
      expect(new Set(world.spent).size).toBe(world.spent.length)
      expect(world.server.stats).toMatchObject({ refusals: 0, reuses: 0, apiRefusals: 0 })
      world.session.dispose()
    },
  )

  it('a network that comes back 10 s later costs those calls their answer, and nobody the session', async () => {
    let isBack = false
    const world = createWorld()
    const realm = createRealm(world, {
      wake: [],
      grant: (tokens, context) =>
        isBack ? world.grant.renew(tokens, context) : Promise.reject(new TypeError('Failed to fetch')),
    })
    await realm.session.adopt(world.server.signIn())
    await settle()
    await sleep({ ...world, ...realm })
    const early = caught(realm.session.fetch(api))
    await pass(world.clock, 10_000, 500)
    const { error } = (await early) as { error: { retryAtMs: number } }
    expect(error).toMatchObject({ code: 'unreachable', retryable: true })
    isBack = true
    // Nothing but use brings it back: no timer, no hint.
    const late = caught(realm.session.fetch(api))
    await pass(world.clock, 500)
    expect((await late).value).toMatchObject({ status: 200 })
    expect(realm.events.filter(event => event.startsWith('signed-out'))).toEqual([])
  })
})

describe('pain 29: timers', () => {
  it('that are a minute late, each of them, cost time and nothing else', async () => {
    const real = globalThis.setTimeout
    vi.spyOn(globalThis, 'setTimeout').mockImplementation(((run: () => void, ms = 0) =>
      real(run, Math.max(ms, 60_000))) as typeof setTimeout)
    const world = await signedIn()
    for (let round = 1; round <= 3; round++) {
      world.clock.advance(301_000)
      const calls = Promise.all(Array.from({ length: 5 }, () => caught(world.session.fetch(api))))
      await pass(world.clock, 120_000, 60_000)
      for (const { value } of await calls) expect(value).toMatchObject({ status: 200 })
    }
    expect(world.server.stats).toMatchObject({ refusals: 0, reuses: 0 })
    expect(world.session.state.status).toBe('signed-in')
  })

  it('that never run leave a session that works: the clock is looked at on use', async () => {
    vi.spyOn(globalThis, 'setTimeout').mockImplementation((() => 0) as never)
    const world = await signedIn({ keepFresh: true })
    for (let round = 1; round <= 3; round++) {
      world.clock.advance(301_000)
      expect((await world.session.fetch(api)).status).toBe(200)
    }
    expect(world.server.stats).toMatchObject({ renewals: 3, reuses: 0, apiRefusals: 0 })
  })
})

describe('pain 29: a hint that the app woke up', () => {
  it('ends a back-off, and is all that it is for', async () => {
    let wake: () => void = () => undefined
    const hint: Wake = listener => {
      wake = listener
      return () => undefined
    }
    let isBack = false
    const world = createWorld()
    const { session } = createRealm(world, {
      wake: hint,
      grant: (tokens, context) =>
        isBack
          ? world.grant.renew(tokens, context)
          : Promise.reject(new Response(null, { status: 503, headers: { 'retry-after': '600' } })),
    })
    await session.adopt(world.server.signIn())
    world.clock.advance(eightHours)
    expect((await caught(session.fetch(api))).error).toMatchObject({ code: 'unreachable' })
    isBack = true
    expect((await caught(session.fetch(api))).error).toMatchObject({ code: 'unreachable' })
    wake()
    expect((await session.fetch(api)).status).toBe(200)
  })
})
