/** Random numbers from a seed (mulberry32): the same seed, the same schedule. */
export interface Rng {
  next(): number
  int(below: number): number
  chance(probability: number): boolean
  pick<T>(from: readonly T[]): T
}

export function createRng(seed: number): Rng {
  let state = seed | 0
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
  return {
    next,
    int: below => Math.floor(next() * below),
    chance: probability => next() < probability,
    pick: from => from[Math.floor(next() * from.length)] as never,
  }
}

export interface Timer<Owner> {
  readonly dueMs: number
  readonly owner: Owner
  readonly callback: () => void
  unref(): void
}

/** Timers that only fire when they are told to. */
export class Timers<Owner> {
  #pending: Timer<Owner>[] = []

  add(owner: Owner, dueMs: number, callback: () => void): Timer<Owner> {
    const timer = { owner, dueMs, callback, unref() {} }
    let at = this.#pending.length
    while (at > 0 && (this.#pending[at - 1] as Timer<Owner>).dueMs > dueMs) at--
    this.#pending.splice(at, 0, timer)
    return timer
  }

  remove(timer: unknown): void {
    const at = this.#pending.indexOf(timer as Timer<Owner>)
    if (at >= 0) this.#pending.splice(at, 1)
  }

  removeOf(owner: Owner): void {
    this.#pending = this.#pending.filter(timer => timer.owner !== owner)
  }

  next(isEligible: (owner: Owner) => boolean): Timer<Owner> | undefined {
    return this.#pending.find(timer => isEligible(timer.owner))
  }
}

const real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout, random: Math.random }

/** Time and chance of the whole process belong to one run until `release`. */
export function seize<Owner>(
  timers: Timers<Owner>,
  owner: () => Owner,
  nowMs: () => number,
  random: () => number,
): () => void {
  globalThis.setTimeout = ((callback: () => void, ms = 0) =>
    timers.add(owner(), nowMs() + Math.max(ms, 0), callback)) as unknown as typeof setTimeout
  globalThis.clearTimeout = ((timer: unknown) => timers.remove(timer)) as typeof clearTimeout
  Math.random = random
  return () => {
    globalThis.setTimeout = real.setTimeout
    globalThis.clearTimeout = real.clearTimeout
    Math.random = real.random
  }
}

/** Everything that needs no port and no timer happens. */
export const drain = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
