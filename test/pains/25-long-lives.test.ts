import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession } from '../../src/index.ts'
import { secret } from '../support/no-leaks.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const url = 'https://api.example.com/items'
const day = 86_400_000
const year = 365 * day

/** A session that renews by a timer, on the platform's own clocks. */
async function setUp(expires_in: number) {
  const renewedAtMs: number[] = []
  const startMs = Date.now()
  const session = createSession({
    resources: 'https://api.example.com',
    keepFresh: true,
    grant: async () => {
      renewedAtMs.push(Date.now() - startMs)
      return { access_token: secret(`${renewedAtMs.length}`), refresh_token: secret('r'), expires_in }
    },
    fetch: async () => new Response('ok'),
  })
  await session.adopt({ access_token: secret('0'), refresh_token: secret('r'), expires_in })
  return { session, renewedAtMs }
}

describe('pain 25: a token that lives longer than a timer can wait', () => {
  const lives: [what: string, lifetimeMs: number][] = [
    ['25 days', 25 * day],
    ['90 days', 90 * day],
    ['10 years', 10 * year],
    ['for ever', Number.POSITIVE_INFINITY],
    ['MAX_SAFE_INTEGER seconds', Number.MAX_SAFE_INTEGER * 1000],
  ]
  it.each(lives)(
    '%s: not one renewal in the first minute, nor a timer that fires all the time',
    async (_what, lifetimeMs) => {
      const timers = vi.spyOn(globalThis, 'setTimeout')
      const { session, renewedAtMs } = await setUp(lifetimeMs / 1000)
      for (let second = 0; second < 60; second++) {
        expect((await session.fetch(url)).status).toBe(200)
        await vi.advanceTimersByTimeAsync(1000)
      }
      expect(renewedAtMs).toEqual([])
      expect(timers.mock.calls.length).toBeLessThan(5)
      for (const [, ms = 0] of timers.mock.calls) expect(ms).toBeLessThan(2 ** 31)
      session.dispose()
      expect(vi.getTimerCount()).toBe(0)
    },
  )

  it.each(lives.slice(0, 3))('%s: the renewal by timer comes in its last minute', async (_what, lifetimeMs) => {
    const { session, renewedAtMs } = await setUp(lifetimeMs / 1000)
    await vi.advanceTimersByTimeAsync(lifetimeMs - 61_000)
    expect(renewedAtMs).toEqual([])
    await vi.advanceTimersByTimeAsync(61_000)
    expect(renewedAtMs).toHaveLength(1)
    expect(renewedAtMs[0]).toBeLessThan(lifetimeMs)
    expect(await session.getAccessToken()).toBe(secret('1'))
    session.dispose()
  })

  it.each(lives.slice(3))('%s: ten years later the timer has renewed nothing', async (_what, lifetimeMs) => {
    const { session, renewedAtMs } = await setUp(lifetimeMs / 1000)
    await vi.advanceTimersByTimeAsync(10 * year)
    expect((await session.fetch(url)).status).toBe(200)
    expect(renewedAtMs).toEqual([])
    session.dispose()
  })

  it.each(lives)('%s: without the timer it is renewed on use, when it is over', async (_what, lifetimeMs) => {
    vi.useRealTimers()
    let now = 1_800_000_000_000
    let renewals = 0
    const session = createSession({
      resources: 'https://api.example.com',
      clock: { now: () => now, monotonic: () => now },
      grant: async () => ({ access_token: secret(`${++renewals}`), expires_in: lifetimeMs / 1000 }),
      fetch: async () => new Response('ok'),
    })
    await session.adopt({ access_token: secret('0'), refresh_token: secret('r'), expires_in: lifetimeMs / 1000 })
    now += Math.min(lifetimeMs, 10 * year) - 120_000
    await session.fetch(url)
    expect(renewals).toBe(0)
    now += 121_000
    await session.fetch(url)
    expect(renewals).toBe(lifetimeMs <= 10 * year ? 1 : 0)
  })
})
