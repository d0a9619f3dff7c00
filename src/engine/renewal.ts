import type { Grant, GrantContext } from '../ports/grant.ts'
import type { Grip } from '../ports/lock.ts'
import type { Clock } from '../values/clock.ts'
import { type Failure, toError } from '../values/errors.ts'
import type { Emitter } from '../values/events.ts'
import { isSamePair, isTombstone, type LiveRecord } from '../values/record.ts'
import { sleep, within } from '../values/timers.ts'
import { readTokenResponse, type TokenResponse, type TokenSet } from '../values/token-set.ts'
import type { Contexts } from './contexts.ts'
import { createFlight, type Flight, type Home, lockTimeout, type Outcome } from './flight.ts'
import type { Reading, RecordStore, Update } from './record-store.ts'
import { ownSubject, type Subject } from './subject.ts'
import {
  type Announce,
  createNews,
  type Held,
  type SessionEvents,
  signedOutFailure,
  type TokenManager,
} from './token-manager.ts'
import type { TakeTurn } from './turn.ts'
import { judge, longestRetryAfterMs } from './verdict.ts'

/** The times of a session, in milliseconds. */
export interface RenewalNumbers {
  /** This long before its end a token is renewed behind requests; a quarter of its life at most, jittered. @default 60_000 */
  readonly aheadMs: number
  /** What a renewal waits for the grant: then its waiters reject `unreachable`. One that never settles is given up after twice as long. @default 30_000 */
  readonly timeoutMs: number
  /** The wait for the lock: then one take-over where its holder gives no sign of life, else `lock_timeout`. @default 35_000 */
  readonly lockTimeoutMs: number
  /** Each read or write: then `storage_unavailable`. @default 5_000 */
  readonly storageTimeoutMs: number
  /** A 401 on a token younger than this is the server's answer, not a reason to renew. @default 5_000 */
  readonly minIntervalMs: number
}

export interface Renewal {
  /**
   * Brings a token that is not `rejected`. Joins a renewal in flight; resolves, never rejects.
   * `isUrgent`: the rejected token serves nobody any more, so a lock holder that gives no sign of life may be passed over.
   */
  renew(rejected: string, isUrgent: boolean, subject?: Subject): Promise<Outcome>
  /** The app woke up or the network is back: the back-off is over. */
  wake(): void
}

interface RenewalOptions extends RenewalNumbers {
  readonly self: string
  readonly grant: Grant<never>
  readonly contextOf: (signal: AbortSignal) => GrantContext
  readonly clock: Clock
  readonly isRefusedByApp: ((error: unknown) => boolean) | undefined
  readonly home: Home
  readonly manager: TokenManager
  readonly store: RecordStore
  readonly contexts: Contexts
  readonly takeTurn: TakeTurn
  /** The lock of a sign-in; `undefined` where nobody else can hold its tokens. */
  readonly lockName: (id: string) => string | undefined
  readonly scope: 'context' | 'tab' | 'shared'
  readonly isInteractive: boolean
  readonly isReadOnly: boolean
  readonly emitter: Emitter<SessionEvents>
  /** Runs a grant so that its own calls of the session can be told. */
  readonly guard: <T>(run: () => T, signal: AbortSignal) => T
  /** The session ended while its pair was on the way. */
  readonly revokeLate: (id: string, tokens: TokenSet) => void
  /** The record in the storage belongs to a sign-in that ended, or could not be saved: write again what counts. */
  readonly reassert: () => void
  /** Tells the other sessions of this realm and the other contexts. */
  readonly publish: (record: LiveRecord) => void
  /** What a failed read or write is for whoever waits. */
  readonly storageFailure: (cause: unknown) => Failure
}

interface Renewed {
  readonly what: 'renewed'
  readonly tokens: TokenSet
  readonly sentAtMs: number
  readonly sentMonotonicMs: number
}

type Answer =
  | Renewed
  | { readonly what: 'refused'; readonly cause: unknown }
  | Extract<Awaited<ReturnType<typeof judge>>, { what: 'unreachable' }>

const quickRetriesMs = [100, 300]
const adoptionWaitMs = 1000
const claimMs = 50
const firstBackOffMs = 1000
const longestBackOffMs = 60_000
const clientErrorsUntilSignIn = 3

const adopted: Outcome = { how: 'adopted' }
const cannotRenew: Failure = {
  code: 'signed_out',
  message: 'Nothing can renew this session: the token works until it expires. Sign in again for a new one.',
}
const targetRefused: Failure = {
  code: 'token_refused',
  message: 'The server gives no token for this resource or scope. Ask for less, or for another one.',
  retryable: false,
}
/** A port that breaks its word (a clock that throws) must not leave anybody waiting. */
const unexpected = (cause: unknown): Failure => ({
  code: 'unreachable',
  message: 'The renewal failed unexpectedly; see the cause.',
  cause,
})
const jitter = (ms: number) => ms * (1 - Math.random() / 2)

/**
 * The renewal law. In order:
 * 1. A token that is not the rejected one any more needs no renewal; a renewal in flight is joined; a back-off is kept.
 * 2. Under the lock: read and adopt what is newer; write the attempt ahead; call the grant; write the successor; tell the others.
 * 3. Only a definitive refusal of the newest refresh token ends anything, and not before the access token is dead.
 * 4. A late answer is committed only on the generation it was asked for.
 * Waiters get one answer each, within their bound, whatever hangs.
 */
export function createRenewal(options: RenewalOptions): Renewal {
  const { grant, clock, home, manager, store, contexts, takeTurn, emitter, scope } = options
  const own = ownSubject(manager)
  // A pair that came when its call counted as dead, and waits for the lock.
  let late: { readonly base: Held; readonly subject: Subject; readonly answer: Renewed } | undefined
  let failures = 0
  let clientErrors = 0
  let retryAtMs = 0
  let wokenAtMs = Number.NEGATIVE_INFINITY

  function renew(rejected: string, isUrgent: boolean, subject = own): Promise<Outcome> {
    const held = manager.held
    if (!held) return Promise.resolve(signedOutFailure())
    if (subject.current() !== rejected) return Promise.resolve(adopted)
    const { record } = held
    const current = home.flight
    if (current?.id === record.id) {
      // One that brought this very token is on its last steps, one for another subject has the refresh token: neither brings ours.
      if (current.rejected !== rejected || current.subject !== subject.target) {
        return current.over.then(() => renew(rejected, isUrgent, subject))
      }
      current.isUrgent ||= isUrgent
      return current.outcome
    }
    const pause = backOffOf(record)
    if (pause) return Promise.resolve(pause)
    // No await between the check above and this line: one renewal per sign-in and realm.
    const flight = createFlight(home, record.id, rejected, subject.target)
    flight.isUrgent = isUrgent
    home.flight = flight
    fly(flight, subject).catch(cause => {
      flight.land()
      flight.settle(unexpected(cause))
    })
    return flight.outcome
  }

  /** Takes the lock, runs the renewal under it, and lets the app hear of it once the lock is free. */
  async function fly(flight: Flight, subject: Subject, how: 'first' | 'again' | 'steal' = 'first'): Promise<void> {
    const news = createNews()
    let outcome: Outcome | undefined
    const run = async (grip?: Grip) => {
      outcome = await underLock(flight, subject, grip, news.announce).catch(unexpected)
    }
    const name = options.lockName(flight.id)
    if (!name) await run()
    else {
      const leave = new AbortController()
      const stop = manager.subscribe(() => {
        if (isServed(flight, subject)) leave.abort()
      })
      flight.ended.addEventListener('abort', () => leave.abort())
      const steal = how === 'steal'
      const sinceMs = clock.now()
      const timeoutMs = steal ? Math.min(options.lockTimeoutMs, 5000) : options.lockTimeoutMs
      const turn = await takeTurn(name, { timeoutMs, leave: leave.signal, steal }, run)
      stop()
      if (turn === 'left') outcome = adopted
      if (turn === 'timeout') {
        const next = how === 'first' && (await claim(flight, subject, sinceMs))
        if (next) return fly(flight, subject, next)
        outcome = isServed(flight, subject) ? adopted : lockTimeout
      }
    }
    // The lock is free, the place too: the app hears of it, then the waiters go on.
    flight.land()
    news.tell()
    flight.settle(outcome ?? signedOutFailure())
  }

  const isServed = (flight: Flight, subject: Subject) =>
    manager.held?.record.id === flight.id && subject.current() !== flight.rejected && subject.isAlive()

  /**
   * The lock was not had in time: read once more. Only a holder that gives no sign of life is passed over, and only when the token is dead.
   * Whoever writes its attempt first does it; the others, who waited as long, wait for that one.
   */
  async function claim(flight: Flight, subject: Subject, sinceMs: number): Promise<'steal' | 'again' | undefined> {
    let next: 'steal' | 'again' | undefined
    const look = (reading: Reading): LiveRecord | undefined => {
      next = undefined
      if (flight.ended.aborted || reading.what !== 'value') return undefined
      manager.meet(reading.record)
      const record = manager.held?.record
      if (record?.id !== flight.id || isServed(flight, subject) || !flight.isUrgent) return undefined
      const { attempt } = record
      if (attempt && clock.now() - attempt.atMs <= options.timeoutMs) {
        if (attempt.atMs >= sinceMs) next = 'again'
        return undefined
      }
      next = 'steal'
      return { ...record, attempt: { by: options.self, atMs: clock.now() } }
    }
    await store.update(look)
    if (next !== 'steal') return next
    // Two that waited as long may both have read before either wrote: the claim that stands counts.
    await sleep(claimMs)
    const reading = await store.read()
    if (reading.what === 'value') manager.meet(reading.record)
    if (flight.ended.aborted) return undefined
    const by = reading.what === 'value' && 'attempt' in reading.record ? reading.record.attempt?.by : undefined
    return by === undefined || by === options.self ? 'steal' : 'again'
  }

  async function underLock(
    flight: Flight,
    subject: Subject,
    grip: Grip | undefined,
    announce: Announce,
  ): Promise<Outcome | undefined> {
    const ready = await prepare(flight, subject, grip, announce)
    if (!('record' in ready)) return ready
    const known = lateOf(ready)
    if (!known) return spend(flight, subject, ready, announce)
    // The successor of what would be spent is here already.
    const outcome = await commit(flight, known.subject, ready, known.answer, announce)
    return known.subject.target === subject.target ? outcome : underLock(flight, subject, grip, announce)
  }

  /** Reads, adopts what is newer, and writes the attempt ahead of the call. Resolves with what may be spent, or with the end of the renewal. */
  async function prepare(
    flight: Flight,
    subject: Subject,
    grip: Grip | undefined,
    announce: Announce,
  ): Promise<Held | Outcome> {
    if (options.isInteractive) return spendable(flight, subject, announce)
    // Somebody began and did not say how it ended: it may hold a successor that it could not save.
    const begun = manager.held?.record.attempt
    const isOpen = begun && begun.by !== options.self && !begun.retryAtMs
    if (scope === 'tab' || contexts.isBehind || isOpen) await contexts.ask()
    let verdict = spendable(flight, subject, announce)
    const { what, record, reading, cause } = await store.update(now => {
      verdict = face(flight, subject, now, announce)
      return 'record' in verdict ? { ...verdict.record, attempt: { by: options.self, atMs: clock.now() } } : undefined
    })
    if (!('record' in verdict)) return verdict
    if (flight.ended.aborted) return signedOutFailure()
    const { held } = manager
    if (!held || !isSamePair(held.record, verdict.record)) {
      // A successor was handed over while the attempt was being written, and lies under it now.
      options.reassert()
      return prepare(flight, subject, grip, announce)
    }
    if (what === 'written' && record) {
      const spent: Held = { record, life: held.life }
      manager.note(spent)
      return grip?.lost?.aborted ? lockTimeout : spent
    }
    // Never spend what can't be saved, unless nobody else can hold it anyway.
    const isOnlyHere =
      scope === 'context' || (held.unsaved && !contexts.hasHandedOver && reading.what !== 'unavailable')
    return isOnlyHere && !options.isReadOnly ? held : failStorage(cause, announce)
  }

  /** What the storage says, before anything is spent. */
  function face(flight: Flight, subject: Subject, reading: Reading, announce: Announce): Held | Outcome {
    const { ended } = flight
    // A sign-out counts whoever reads of it; the rest is for a renewal that is still wanted.
    if (reading.what === 'value' && (!ended.aborted || isTombstone(reading.record)))
      manager.meet(reading.record, announce)
    if (ended.aborted) return signedOutFailure()
    if (reading.what === 'value') {
      const pause = manager.held && backOffOf(manager.held.record)
      if (pause) return pause
    }
    if (reading.what === 'corrupt') {
      // Nothing in there can be spent, and nothing here may be written over it.
      if (manager.remainingMs() > 0)
        return options.storageFailure(new Error('The stored record is damaged or foreign.'))
      manager.end('storage_corrupt', announce)
      return signedOutFailure('storage_corrupt')
    }
    return spendable(flight, subject, announce)
  }

  function spendable(flight: Flight, subject: Subject, announce: Announce): Held | Outcome {
    const held = manager.held
    if (held?.record.id !== flight.id) return signedOutFailure()
    if (isServed(flight, subject)) return adopted
    if (manager.canRenew(held.record.tokens)) return held
    const reason = held.record.refused ? 'refused' : 'expired'
    if (manager.remainingMs() > 0) return cannotRenew
    manager.end(reason, announce)
    return signedOutFailure(reason)
  }

  /** Calls the grant under the session's own time. Past it the waiters are answered; the flight stays until the grant settles or counts as dead. */
  async function spend(flight: Flight, subject: Subject, base: Held, announce: Announce): Promise<Outcome | undefined> {
    if (flight.ended.aborted) return undefined
    const abort = new AbortController()
    const call = callGrant(flight, subject, base, abort.signal)
    // Also where the sign-in ends meanwhile: others may hold it still, so the lock is kept for the call.
    const wait = () => within(call, options.timeoutMs, () => 'late' as const)
    let answer = await wait()
    if (answer === 'late') {
      abort.abort()
      const message = `The authorization server did not answer within ${options.timeoutMs} ms. The session is kept; try again later.`
      flight.settle(backOff({ code: 'unreachable', message }, false, announce))
      answer = await wait()
      // The abort made it fail: that is the failure we know already.
      if (typeof answer === 'object' && answer.what === 'unreachable') {
        await shareBackOff(flight, base, announce)
        return undefined
      }
    }
    if (typeof answer === 'object') return conclude(flight, subject, base, answer, announce)
    // Dead. Should it answer after all, it is judged by what is stored then.
    void call.then(late => judgeLate(flight, subject, base, late))
    return undefined
  }

  const lateOf = (base: Held) => (late && isSamePair(late.base.record, base.record) ? late : undefined)

  async function judgeLate(flight: Flight, subject: Subject, base: Held, answer: Answer): Promise<void> {
    if (answer.what !== 'renewed') return
    if (flight.ended.aborted) return options.revokeLate(flight.id, answer.tokens)
    const news = createNews()
    late = { base, subject, answer }
    const run = async () => {
      await commit(flight, subject, base, answer, news.announce)
      if (late?.answer === answer) late = undefined
    }
    const name = options.lockName(flight.id)
    const patience = new AbortController()
    const turn = name && (await takeTurn(name, { timeoutMs: options.lockTimeoutMs, leave: patience.signal }, run))
    // The pair exists and nobody else has it: without the lock the generation alone must judge.
    if (turn !== 'done') await run()
    news.tell()
  }

  async function conclude(
    flight: Flight,
    subject: Subject,
    base: Held,
    answer: Answer,
    announce: Announce,
  ): Promise<Outcome> {
    if (answer.what === 'renewed') return commit(flight, subject, base, answer, announce)
    if (flight.ended.aborted) return signedOutFailure()
    // Somebody's successor came meanwhile: the failure was about a token that is spent.
    if (!currentOf(flight, base)) return adopted
    if (answer.what === 'refused') return refuse(flight, base, answer.cause, announce)
    if (subject.target && answer.isTargetRefused) return targetRefused
    const failure = backOff(answer.failure, answer.isClientError, announce)
    await shareBackOff(flight, base, announce)
    return failure
  }

  /** One call of the grant and its quick retries with the same token. Never rejects. */
  async function callGrant(flight: Flight, subject: Subject, base: Held, signal: AbortSignal): Promise<Answer> {
    for (const pauseMs of [...quickRetriesMs, undefined]) {
      const answer = await callOnce(subject, base.record.tokens, signal)
      if (answer.what !== 'unreachable' || !answer.isPassing || pauseMs === undefined) return answer
      await sleep(jitter(pauseMs) + pauseMs / 4)
      if (signal.aborted || lateOf(base) || !currentOf(flight, base)) return answer
    }
    throw new Error('unreachable code')
  }

  async function callOnce({ target }: Subject, tokens: TokenSet, signal: AbortSignal): Promise<Answer> {
    // Life counts from here: the answer's way back is part of it.
    const sentAtMs = clock.now()
    const sentMonotonicMs = clock.monotonic()
    try {
      const response = await options.guard(
        () =>
          grant.renew?.(tokens, { ...options.contextOf(signal), ...(target && { target }) }) as Promise<TokenResponse>,
        signal,
      )
      return { what: 'renewed', tokens: readTokenResponse(response, sentAtMs, tokens), sentAtMs, sentMonotonicMs }
    } catch (error) {
      return judge(error, clock.now(), options.isRefusedByApp)
    }
  }

  /** The point of no return: the old refresh token is spent. The new pair is written, or else kept here and said to be unsaved. */
  async function commit(
    flight: Flight,
    subject: Subject,
    base: Held,
    { tokens, sentAtMs, sentMonotonicMs }: Renewed,
    announce: Announce,
  ): Promise<Outcome> {
    const { attempt: _attempt, refused: _refused, ...kept } = base.record
    const make = (): LiveRecord => ({
      ...kept,
      tokens: subject.store(base.record, tokens),
      savedAtMs: subject.target ? kept.savedAtMs : sentAtMs,
      generation: manager.seen + 1,
    })
    const { update, isCurrent } = await advance(flight, base, make, announce)
    if (flight.ended.aborted) {
      options.revokeLate(flight.id, tokens)
      return signedOutFailure()
    }
    // A pair that somebody else's successor has passed is dropped: revoking it would kill the successor too.
    if (!isCurrent) return adopted
    failures = 0
    clientErrors = 0
    retryAtMs = 0
    const { what, cause, record = make() } = update
    const isWritten = what === 'written'
    const life = subject.target ? base.life : manager.lifetimeOf(record, sentMonotonicMs)
    const held: Held = { record, life, ...(!isWritten && { unsaved: true }) }
    subject.accept(held, tokens, sentAtMs, sentMonotonicMs, announce)
    options.publish(record)
    if (!isWritten) {
      failStorage(cause, announce)
      announce(() => options.reassert())
    }
    return { how: 'renewed' }
  }

  /** Writes the next record of a sign-in, unless somebody wrote a successor, a sign-out or another sign-in since: then that counts. */
  async function advance(
    flight: Flight,
    base: Held,
    make: (record: LiveRecord) => LiveRecord,
    announce: Announce,
  ): Promise<{ update: Update<LiveRecord>; isCurrent: boolean }> {
    const update = await store.update(reading => {
      if (reading.what === 'value' && (currentOf(flight, base) || isTombstone(reading.record)))
        manager.meet(reading.record, announce)
      const record = currentOf(flight, base)
      return record && reading.what !== 'corrupt' ? make(record) : undefined
    })
    return { update, isCurrent: !!currentOf(flight, base) }
  }

  /** The record that is renewed, as it stands now; nothing once its sign-in ended or somebody rotated its tokens. */
  function currentOf(flight: Flight, base: Held): LiveRecord | undefined {
    const record = manager.held?.record
    return !flight.ended.aborted && record && isSamePair(record, base.record) ? record : undefined
  }

  /** A definitive "no", unless somebody holds a newer token: then the "no" was about one that is spent. */
  async function refuse(flight: Flight, base: Held, cause: unknown, announce: Announce): Promise<Outcome> {
    for (const isLast of [false, true]) {
      const reading = await store.read()
      if (flight.ended.aborted) return signedOutFailure()
      if (reading.what === 'value') manager.meet(reading.record, announce)
      if (manager.held?.record.id !== flight.id) return signedOutFailure()
      if (!currentOf(flight, base)) return adopted
      if (isLast || scope === 'context') break
      await contexts.ask()
      await sleep(adoptionWaitMs)
    }
    const { update, isCurrent } = await advance(flight, base, withoutRefreshToken, announce)
    const { held } = manager
    if (flight.ended.aborted || held?.record.id !== flight.id) return signedOutFailure()
    if (!isCurrent) return adopted
    const record = update.record ?? withoutRefreshToken(held.record)
    manager.note({ record, life: held.life })
    options.publish(record)
    const failure: Failure = { ...signedOutFailure('refused'), cause }
    reportFailure(failure, announce)
    if (manager.remainingMs() <= 0) manager.end('refused', announce)
    return failure
  }

  function withoutRefreshToken(record: LiveRecord): LiveRecord {
    const { attempt: _attempt, ...kept } = record
    const { refreshToken: _dead, ...tokens } = record.tokens
    return { ...kept, tokens, generation: manager.seen + 1, refused: true }
  }

  // --- failure and its memory

  function reportFailure(failure: Failure, announce: Announce): void {
    if (emitter.has('renewal-failed')) announce(() => emitter.emit('renewal-failed', { error: toError(failure) }))
  }

  function failStorage(cause: unknown, announce: Announce): Failure {
    const failure = options.storageFailure(cause)
    announce(() => emitter.emit('storage-failed', { error: toError(failure) }))
    return failure
  }

  /** Remembers that the server could not be reached, so that nobody asks again before `retryAtMs`. */
  function backOff(failure: Failure, isClientError: boolean, announce: Announce): Failure {
    failures++
    clientErrors = isClientError ? clientErrors + 1 : 0
    const pauseMs = jitter(Math.min(firstBackOffMs * 2 ** (failures - 1), longestBackOffMs))
    retryAtMs = failure.retryAtMs ?? Math.round(clock.now() + pauseMs)
    // Some servers answer a dead refresh token with an empty 400: nothing is wiped, but the app may want to ask its user.
    const told: Failure = {
      ...failure,
      retryAtMs,
      ...(clientErrors >= clientErrorsUntilSignIn && { signInRequired: true }),
    }
    reportFailure(told, announce)
    return told
  }

  /** All contexts share the back-off through the record; failing to write it costs only that. */
  async function shareBackOff(flight: Flight, base: Held, announce: Announce): Promise<void> {
    if (options.isInteractive) return
    const share = (record: LiveRecord): LiveRecord => ({
      ...record,
      attempt: { by: options.self, atMs: clock.now(), retryAtMs },
    })
    const { update, isCurrent } = await advance(flight, base, share, announce)
    if (update.what === 'written' && update.record && isCurrent && manager.held) {
      manager.note({ ...manager.held, record: update.record })
    }
  }

  /** Why nothing is asked now, in the record's or in our own memory; a clock that was set back does not keep anybody waiting. */
  function backOffOf({ attempt }: LiveRecord): Failure | undefined {
    const now = clock.now()
    const shared = attempt?.retryAtMs && attempt.atMs > wokenAtMs ? attempt.retryAtMs : 0
    const until = Math.max(shared, retryAtMs)
    if (until <= now || until > now + longestRetryAfterMs + longestBackOffMs) return undefined
    return {
      code: 'unreachable',
      message: 'The authorization server could not be reached a moment ago. The session is kept; see retryAtMs.',
      retryAtMs: until,
      ...(clientErrors >= clientErrorsUntilSignIn && { signInRequired: true }),
    }
  }

  return {
    renew,
    wake() {
      failures = 0
      retryAtMs = 0
      wokenAtMs = clock.now()
    },
  }
}
