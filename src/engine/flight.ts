import type { Lock } from '../ports/lock.ts'
import type { Failure } from '../values/errors.ts'
import type { StoredRecord } from '../values/record.ts'

/** What a renewal brought, the same for everybody who waited. Never a rejection: each waiter makes an error of its own. */
export type Outcome = { readonly how: 'renewed' | 'adopted' } | Failure

export const isFailure = (outcome: Outcome): outcome is Failure => 'code' in outcome

/** One renewal under way. Its waiters may be answered before it ends: a grant that hangs keeps the flight, not the callers. */
export interface Flight {
  /** The sign-in that is renewed. */
  readonly id: string
  /** What a token is brought for. */
  readonly subject: object | undefined
  /** The access token that is to be replaced. */
  readonly rejected: string
  /** Somebody waits who cannot use the rejected token any more. */
  isUrgent: boolean
  readonly outcome: Promise<Outcome>
  /** Answers the waiters; the first answer counts. */
  settle(outcome: Outcome): void
  /** Aborts when the sign-in ended: nothing of it is needed any more. */
  readonly ended: AbortSignal
  /** Resolves when the place is free again. */
  readonly over: Promise<void>
  /** The renewal is done with: the place is free. */
  land(): void
  /**
   * The sign-in is over: the waiters learn why, the place is free for the next one.
   * Where the renewal itself found out (`isOwn`), it answers them once the lock is free and the app was told.
   */
  end(why: Failure, isOwn: boolean): void
}

/** What the sessions on one storage object and key have in common within this realm. */
export interface Home {
  flight: Flight | undefined
  /** The storage operation under way: one at a time, so that no answer of an older one comes after that of a newer. */
  storing: Promise<unknown> | undefined
  members: readonly Member[]
  /** Where no platform and no storage brings one. */
  lock?: Lock
}

/** A session that hears of what the others of its home wrote. */
export interface Member {
  hear(record: StoredRecord): void
}

export const lockTimeout: Failure = {
  code: 'lock_timeout',
  message: 'Another context holds the lock and did not finish in time. Try again.',
}

type Kept = Home | WeakRef<Home>
const homes = new WeakMap<object, Map<string, Kept>>()
// A server makes sessions for users without end on one storage: their homes go with them. Where nothing can be held weakly, they stay.
const emptied =
  typeof FinalizationRegistry === 'function' ? new FinalizationRegistry<() => void>(forget => forget()) : undefined

/** Lives as long as one of its sessions. */
export function homeOf(storage: object, key: string): Home {
  const byKey = homes.get(storage) ?? new Map<string, Kept>()
  homes.set(storage, byKey)
  const kept = byKey.get(key)
  const known = kept && 'deref' in kept ? kept.deref() : kept
  if (known) return known
  const home: Home = { flight: undefined, storing: undefined, members: [] }
  // No closure here may name the home: the one below is kept for as long as the home is not collected.
  const next: Kept = emptied ? new WeakRef(home) : home
  byKey.set(key, next)
  emptied?.register(home, () => {
    if (byKey.get(key) === next) byKey.delete(key)
  })
  return home
}

export function createFlight(home: Home, id: string, rejected: string, subject?: object): Flight {
  const ended = new AbortController()
  let settle!: (outcome: Outcome) => void
  let isOver!: () => void
  const flight: Flight = {
    id,
    subject,
    rejected,
    isUrgent: false,
    outcome: new Promise(resolve => {
      settle = resolve
    }),
    settle,
    over: new Promise(resolve => {
      isOver = resolve
    }),
    land() {
      if (home.flight === flight) home.flight = undefined
      isOver()
    },
    ended: ended.signal,
    end(why, isOwn) {
      ended.abort()
      if (isOwn) return
      settle(why)
      flight.land()
    },
  }
  return flight
}
