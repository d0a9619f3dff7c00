import { type Clock, remainingMs } from '../values/clock.ts'
import { type Failure, toError } from '../values/errors.ts'
import type { Emitter } from '../values/events.ts'
import { chain, type MaybePromise } from '../values/maybe-promise.ts'
import {
  isSamePair,
  isTombstone,
  type LiveRecord,
  randomId,
  type StoredRecord,
  type Tombstone,
} from '../values/record.ts'
import { startTimer } from '../values/timers.ts'
import type { TokenSet } from '../values/token-set.ts'
import type { Contexts } from './contexts.ts'
import type { Reading, RecordStore, Update } from './record-store.ts'
import { type Announce, atOnce, createNews, type Held, type SessionEvents, type TokenManager } from './token-manager.ts'
import type { TakeTurn } from './turn.ts'

/** Who is signed in: what the storage says about it, and how a sign-in or a sign-out gets there. */
export interface Identity {
  /** The first read. In the caller's tick where the storage is synchronous; again at each call after one that failed. */
  start(): MaybePromise<void>
  /** Reads because something may have changed elsewhere. `isNews`: somebody said so, thus an empty storage means a sign-out. */
  read(isNews: boolean, announce?: Announce): MaybePromise<void>
  /** Another context handed over its newer record: adopted, and written where it was missing. */
  receive(record: LiveRecord): void
  /** A sign-in begins: known at once, written at once. Resolves after the write or its failure. `announce`: of a caller that holds the lock. */
  begin(tokens: TokenSet, bornAtMs: number, bornMonotonicMs?: number, announce?: Announce): MaybePromise<void>
  /** The session ends: known at once, written at once. Resolves with the tokens that are left to revoke. */
  end(): MaybePromise<TokenSet | undefined>
  /** Writes again what this context stands for: the storage holds an ended sign-in, or lacks the newest tokens. */
  reassert(): void
  stop(): void
}

interface IdentityOptions {
  readonly grantName: string
  readonly clock: Clock
  readonly manager: TokenManager
  readonly store: RecordStore
  readonly contexts: Contexts
  readonly emitter: Emitter<SessionEvents>
  readonly publish: (record: StoredRecord) => void
  readonly takeTurn: TakeTurn
  readonly lockName: (id: string) => string | undefined
  readonly lockTimeoutMs: number
  readonly storageFailure: (cause: unknown) => Failure
  readonly revokeLate: (id: string, tokens: TokenSet) => void
  /** Where a grant asks for it: signs in when nothing is stored. */
  readonly signInAtStart: (() => Promise<unknown>) | undefined
}

const firstRetryMs = 1000
const longestRetryMs = 60_000

export function createIdentity(options: IdentityOptions): Identity {
  const { manager, store, contexts, emitter, clock } = options
  let starting: MaybePromise<void>
  let retries = 0
  let stopRetry: (() => void) | undefined

  // A getter may be what started us: nobody is called back inside of it.
  const afterwards = (announcement: () => void) => void Promise.resolve().then(announcement)

  function start(): MaybePromise<void> {
    if (manager.status !== 'starting') return undefined
    starting ??= chain(store.read(), reading => {
      starting = undefined
      if (manager.status === 'starting') open(reading)
      // signIn, adopt and signOut beat what start reads.
      else if (reading.what === 'value') manager.supersede(reading.record)
    })
    return starting
  }

  function open(reading: Reading): void {
    if (reading.what === 'unavailable') {
      const error = toError(options.storageFailure(reading.cause))
      manager.start({ error }, afterwards)
      afterwards(() => emitter.emit('storage-failed', { error }))
    } else if (reading.what === 'corrupt') manager.end('storage_corrupt', afterwards)
    else if (reading.what === 'empty') {
      const isOut = () => {
        if (manager.status === 'starting') manager.start({}, afterwards)
      }
      // `ready` waits for a sign-in at the start; what that brings is a sign-in like any other.
      if (options.signInAtStart) void options.signInAtStart().then(isOut)
      else isOut()
    } else if (isTombstone(reading.record)) {
      manager.meet(reading.record, afterwards)
      manager.start({}, afterwards)
    } else {
      const { record } = reading
      const isDead = remainingMs(manager.lifetimeOf(record), clock) <= 0 && !manager.canRenew(record.tokens)
      manager.start(isDead ? { reason: record.refused ? 'refused' : 'expired' } : record, afterwards)
      contexts.hello()
    }
  }

  function read(isNews: boolean, announce: Announce = atOnce): MaybePromise<void> {
    if (manager.status === 'starting') return start()
    const { held: asked, epoch } = manager
    return chain(store.read(), (reading): MaybePromise<void> => {
      // A sign-out came in between: what was stored before it is no news.
      if (manager.isSignedOutOnPurpose && manager.epoch !== epoch) return read(isNews, announce)
      if (reading.what === 'value') {
        // Without a lock somebody may have written over a successor: its holder writes it again.
        if (['undead', 'stale'].includes(manager.meet(reading.record, announce))) reassert()
        if (contexts.isBehind) void contexts.ask()
      } else if (reading.what === 'empty' && isNews && isStillSaved(asked)) {
        manager.end('elsewhere', announce)
      } else if (reading.what === 'unavailable') announce(() => fail(reading.cause))
    })
  }

  /** What was held when a read began may have been saved since: that it found nothing says nothing then. */
  const isStillSaved = (asked: Held | undefined) =>
    !!asked && !asked.unsaved && manager.held?.record.id === asked.record.id && !manager.held.unsaved

  function receive(record: LiveRecord): void {
    if (record.generation <= (manager.held?.record.generation ?? 0) || manager.meet(record) !== 'adopted') return
    chain(
      store.update(reading => {
        if (reading.what === 'value') manager.meet(reading.record)
        if (manager.held?.record !== record || reading.what === 'corrupt') return undefined
        return reading.what === 'value' && reading.record.generation >= record.generation ? undefined : record
      }),
      update => {
        if (update.what === 'failed') fail(update.cause)
      },
    )
  }

  function begin(
    tokens: TokenSet,
    bornAtMs: number,
    bornMonotonicMs?: number,
    announce: Announce = atOnce,
  ): MaybePromise<void> {
    const record = {
      v: 1,
      id: randomId(),
      generation: manager.seen + 1,
      begunAtMs: manager.beginsAtMs(),
      grant: options.grantName,
      tokens,
      savedAtMs: bornAtMs,
    } satisfies LiveRecord
    const life = manager.lifetimeOf(record, bornMonotonicMs)
    // Before anybody hears of it: a listener may sign in or out in turn.
    const epoch = manager.epoch + 1
    manager.begin({ record, life, unsaved: true }, announce)
    return chain(
      store.update(reading => {
        if (manager.epoch !== epoch) return undefined
        if (reading.what !== 'value') return record
        const { generation, begunAtMs } = reading.record
        manager.supersede(reading.record)
        const above = {
          ...record,
          generation: Math.max(record.generation, generation + 1),
          begunAtMs: Math.max(record.begunAtMs, (begunAtMs ?? 0) + 1),
        }
        // Known while it is being written: nobody else's comes in between.
        manager.note({ record: above, life, unsaved: true })
        return above
      }),
      update => {
        if (manager.epoch !== epoch) return
        const { held } = manager
        if (update.what === 'written' && update.record && held && isSamePair(held.record, update.record))
          manager.note({ record: update.record, life })
        written(update, manager.held?.record ?? record, announce)
        contexts.hello()
      },
    )
  }

  function end(): MaybePromise<TokenSet | undefined> {
    const last = manager.held?.record
    const wasStarting = manager.status === 'starting'
    let ended: StoredRecord | undefined = last
    // Before anybody hears of it: a listener may sign in or out in turn.
    const epoch = manager.epoch + 1
    manager.end('requested')
    let tokens = last?.tokens
    return chain(
      store.update(reading => {
        const stored = reading.what === 'value' ? reading.record : undefined
        if (manager.epoch !== epoch || reading.what === 'corrupt') return undefined
        if (stored && isTombstone(stored) && stored.id === last?.id) return undefined
        if (stored && !isTombstone(stored) && stored.generation >= (last?.generation ?? 0)) {
          tokens = stored.tokens
          ended = stored
        }
        if (stored) manager.supersede(stored, true)
        return ended && tombstoneOf(ended)
      }),
      (update): MaybePromise<TokenSet | undefined> => {
        if (manager.epoch !== epoch) return tokens
        if (wasStarting && ['value', 'empty'].includes(update.reading.what)) manager.sawAll()
        const tombstone = update.record ?? (last && tombstoneOf(last))
        if (tombstone) {
          manager.supersede(tombstone)
          written(update, tombstone)
        }
        // What can't be marked is removed: a reload must not bring the session back.
        return update.what === 'failed' ? chain(store.remove(), () => tokens) : tokens
      },
    )
  }

  const tombstoneOf = ({ id, begunAtMs }: StoredRecord): Tombstone => ({
    v: 1,
    id,
    generation: manager.seen + 1,
    begunAtMs,
    signedOut: true,
  })

  /** Tells the others; then looks once more under the lock, where nobody can have written over it unseen. */
  function written(update: Update, record: StoredRecord, announce: Announce = atOnce): void {
    options.publish(record)
    if (update.what === 'failed') {
      announce(() => fail(update.cause))
      if (manager.held) retryLater()
    }
    const name = options.lockName(record.id)
    if (!name || update.what !== 'written' || announce !== atOnce) return
    const news = createNews()
    const look = async () => read(false, news.announce)
    void options
      .takeTurn(name, { timeoutMs: options.lockTimeoutMs, leave: new AbortController().signal }, look)
      .then(news.tell)
  }

  function reassert(): void {
    // Nothing is stood for before the first read.
    if (manager.status === 'starting') return
    const id = manager.held?.record.id
    chain(
      store.update((reading): StoredRecord | undefined => {
        if (manager.held?.record.id !== id || reading.what === 'corrupt') return undefined
        const stored = reading.what === 'value' ? reading.record : undefined
        const meeting = stored && manager.meet(stored)
        const record = manager.held?.record
        if (record?.id !== id) return undefined
        if (!record) return stored && meeting === 'undead' ? tombstoneOf(stored) : undefined
        return meeting === 'undead' || meeting === 'stale' || manager.held?.unsaved ? record : undefined
      }),
      ({ what, record, reading }) => {
        const { held } = manager
        if (what === 'failed' && (held || manager.isSignedOutOnPurpose)) retryLater()
        if (what !== 'written' || !record) return
        retries = 0
        if (isTombstone(record)) {
          manager.supersede(record)
          // A renewal elsewhere that did not know of the sign-out: nobody revoked what it brought.
          if (reading.what === 'value' && !isTombstone(reading.record))
            options.revokeLate(record.id, reading.record.tokens)
        } else if (held && isSamePair(held.record, record)) manager.note({ record, life: held.life })
        options.publish(record)
      },
    )
  }

  /** Saving is tried again until it works; the timer is a convenience, each wake and each renewal tries too. */
  function retryLater(): void {
    stopRetry?.()
    stopRetry = startTimer(reassert, Math.min(firstRetryMs * 2 ** retries++, longestRetryMs))
  }

  function fail(cause: unknown): void {
    emitter.emit('storage-failed', { error: toError(options.storageFailure(cause)) })
  }

  return { start, read, receive, begin, end, reassert, stop: () => stopRetry?.() }
}
