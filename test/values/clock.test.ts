import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { ageMs, createLifetime, remainingMs, systemClock } from '../../src/values/clock.ts'
import { readTokenResponse } from '../../src/values/token-set.ts'
import { secret } from '../support/no-leaks.ts'

const at = (now: number, monotonic: number) => ({ now: () => now, monotonic: () => monotonic })
const wall = 1_800_000_000_000
const mint = (expires_in: number | string | undefined, nowMs = wall, monotonicMs: number | undefined = 1000) =>
  createLifetime(readTokenResponse({ access_token: secret('a'), expires_in }, nowMs), nowMs, monotonicMs, 60_000)

describe('the life of a token', () => {
  it.each([
    ['both clocks run', 10_000, 10_000, 50_000],
    ['the wall clock was set forward', 70_000, 10_000, -10_000],
    ['the wall clock was set back', -3_600_000, 10_000, 50_000],
    ['the monotonic clock stood still in sleep', 28_800_000, 10, -28_740_000],
    ['the wall clock was set back, and the token is dead', -3_600_000, 61_000, -1000],
    ['both say it is the last moment', 60_000, 60_000, 0],
  ])('is what the more careful clock says: %s', (_what, byWall, byMonotonic, remaining) => {
    expect(remainingMs(mint(60), at(wall + byWall, 1000 + byMonotonic))).toBe(remaining)
  })

  it('is told by the wall clock alone after a reload', () => {
    const life = createLifetime(
      readTokenResponse({ access_token: secret('a'), expires_in: 60 }, wall),
      wall,
      undefined,
      0,
    )
    expect(remainingMs(life, at(wall + 20_000, 5))).toBe(40_000)
    expect(ageMs(life, at(wall + 20_000, 5))).toBe(20_000)
  })

  it('is unknown after a reload when the wall clock is before its birth: reactive, and old enough to be renewed', () => {
    const life = createLifetime(
      readTokenResponse({ access_token: secret('a'), expires_in: 60 }, wall),
      wall,
      undefined,
      0,
    )
    expect(remainingMs(life, at(wall - 1, 0))).toBe(Number.POSITIVE_INFINITY)
    expect(ageMs(life, at(wall - 1, 0))).toBe(Number.POSITIVE_INFINITY)
  })

  it('has no end where nobody knows it', () => {
    expect(remainingMs(mint(undefined), at(wall + 1e12, 1e12))).toBe(Number.POSITIVE_INFINITY)
  })

  it('is renewed ahead by a quarter at most, and by 20 % less at most', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000 }), seconds => {
        const ahead = mint(seconds).aheadMs
        const most = Math.min(60_000, (seconds * 1000) / 4)
        expect(ahead).toBeLessThanOrEqual(most)
        expect(ahead).toBeGreaterThanOrEqual(most * 0.8)
      }),
    )
  })

  it('is never over at birth, whatever the clocks show and however the server writes it', () => {
    const seconds = fc.oneof(fc.integer({ min: 1 }), fc.double({ min: 0.001, max: 1e9, noNaN: true }))
    const clocks = fc.tuple(fc.integer({ min: 0, max: 8.64e15 }), fc.double({ min: 0, max: 1e12, noNaN: true }))
    fc.assert(
      fc.property(seconds, fc.boolean(), clocks, (lifetime, isText, [now, monotonic]) => {
        const life = mint(isText ? String(lifetime) : lifetime, now, monotonic)
        expect(remainingMs(life, at(now, monotonic))).toBeGreaterThan(0)
        expect(remainingMs(life, at(now, monotonic))).toBeGreaterThan(life.aheadMs)
        expect(ageMs(life, at(now, monotonic))).toBe(0)
      }),
      { numRuns: 500 },
    )
  })

  it('is over on arrival where the server says 0 or less', () => {
    for (const expires_in of [0, '0', -1]) expect(remainingMs(mint(expires_in), at(wall, 1000))).toBeLessThanOrEqual(0)
  })
})

describe('the edges of a life', () => {
  afterEach(() => void vi.restoreAllMocks())
  const dateless = (bornMonotonicMs?: number) =>
    createLifetime(
      { accessToken: secret('a'), tokenType: 'Bearer', expiresAtMs: wall + 60_000 },
      wall,
      bornMonotonicMs,
      0,
    )

  it('a wall clock that shows the very moment of birth is believed', () => {
    expect(remainingMs(dateless(), at(wall, 0))).toBe(60_000)
    expect(ageMs(dateless(), at(wall, 0))).toBe(0)
  })

  it('the monotonic clock counts from its own birth, not from zero', () => {
    expect(remainingMs(dateless(5000), at(wall - 1, 25_000))).toBe(40_000)
    expect(ageMs(dateless(5000), at(wall + 9e9, 25_000))).toBe(20_000)
  })

  it('a token that was born after its end has no life at all', () => {
    const life = createLifetime(
      { accessToken: secret('a'), tokenType: 'Bearer', expiresAtMs: wall - 5 },
      wall,
      0,
      60_000,
    )
    expect(life).toMatchObject({ lifetimeMs: 0, aheadMs: 0, expiresAtMs: wall - 5, bornAtMs: wall, bornMonotonicMs: 0 })
  })

  it.each([
    [0, 60_000],
    [0.5, 54_000],
    [1, 48_000],
  ])('the jitter takes up to a fifth off: %d', (random, expected) => {
    vi.spyOn(Math, 'random').mockReturnValue(random)
    expect(mint(1e6).aheadMs).toBeCloseTo(expected)
    expect(mint(4).aheadMs).toBeCloseTo(expected / 60)
  })
})

describe('the clock of the system', () => {
  afterEach(() => void vi.unstubAllGlobals())

  it('is the wall clock, and one that only runs forward, or the wall clock where there is no such', () => {
    vi.stubGlobal('performance', { now: () => 5 })
    vi.spyOn(Date, 'now').mockReturnValue(wall)
    expect([systemClock.now(), systemClock.monotonic()]).toEqual([wall, 5])
    vi.stubGlobal('performance', undefined)
    expect([systemClock.now(), systemClock.monotonic()]).toEqual([wall, wall])
    vi.restoreAllMocks()
  })
})
