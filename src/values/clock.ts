import type { TokenSet } from './token-set.ts'

/** Where time comes from. Two clocks, since either may lie: wall clocks are set, monotonic ones may stop in sleep. */
export interface Clock {
  /** Epoch milliseconds. */
  now(): number
  /** Milliseconds from any start, never going back. */
  monotonic(): number
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => (typeof performance === 'undefined' ? Date.now() : performance.now()),
}

/** When a token set's life began and ends, by both clocks. */
export interface Lifetime {
  /** Wall clock. */
  readonly bornAtMs: number
  /** Wall clock; `Infinity`: unknown, the server's 401 decides. */
  readonly expiresAtMs: number
  /** Monotonic clock, known only where the tokens were obtained here: after a reload or an adoption the wall clock alone counts. */
  readonly bornMonotonicMs: number | undefined
  readonly lifetimeMs: number
  /** This long before its end a token is renewed behind the requests. */
  readonly aheadMs: number
}

export function createLifetime(
  tokens: TokenSet,
  bornAtMs: number,
  bornMonotonicMs: number | undefined,
  aheadMs: number,
): Lifetime {
  const expiresAtMs = tokens.expiresAtMs ?? Number.POSITIVE_INFINITY
  const lifetimeMs = Math.max(expiresAtMs - bornAtMs, 0)
  // At most a quarter of the life, so that a short token is not renewed all the time; jittered, so that contexts do not all come at once.
  const ahead = Math.min(aheadMs, lifetimeMs / 4) * (1 - Math.random() / 5)
  return { bornAtMs, expiresAtMs, bornMonotonicMs, lifetimeMs, aheadMs: ahead }
}

/** How long the token still lives: the lesser answer of both clocks. A wall clock before the token's birth was set back and is not asked. */
export function remainingMs(life: Lifetime, clock: Clock): number {
  const now = clock.now()
  const byWall = now < life.bornAtMs ? Number.POSITIVE_INFINITY : life.expiresAtMs - now
  if (life.bornMonotonicMs === undefined) return byWall
  const byMonotonic = life.lifetimeMs - (clock.monotonic() - life.bornMonotonicMs)
  return Math.min(byWall, byMonotonic)
}

/** How old the token is; `Infinity` where the wall clock was set back and no other knows. */
export function ageMs(life: Lifetime, clock: Clock): number {
  if (life.bornMonotonicMs !== undefined) return clock.monotonic() - life.bornMonotonicMs
  const age = clock.now() - life.bornAtMs
  return age < 0 ? Number.POSITIVE_INFINITY : age
}
