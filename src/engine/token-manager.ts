import { ageMs, type Clock, createLifetime, type Lifetime, remainingMs } from '../values/clock.ts'
import { type Failure, type SessionError, toError } from '../values/errors.ts'
import type { Emitter } from '../values/events.ts'
import type { Claims } from '../values/jwt.ts'
import { compareRecords, isSamePair, isTombstone, type LiveRecord, type StoredRecord } from '../values/record.ts'
import { claimsOf, type TokenSet } from '../values/token-set.ts'
import type { Home } from './flight.ts'

export type SignedOutReason =
  | 'requested'
  | 'refused'
  | 'expired'
  | 'elsewhere'
  | 'replaced'
  | 'storage_corrupt'
  | 'key_lost'

/** What an app can know of a session. A new object at each change and the same one between: fits `useSyncExternalStore`. */
export type SessionState =
  | { readonly status: 'starting'; readonly error?: SessionError }
  | { readonly status: 'signed-out'; readonly reason?: SignedOutReason }
  | { readonly status: 'signed-in'; readonly expiresAtMs?: number; readonly scope?: string; readonly claims?: Claims }

/** The events of a session and what each tells. None of them holds a token. */
export interface SessionEvents {
  'signed-in': { readonly expiresAtMs?: number }
  renewed: { readonly how: 'renewed' | 'adopted'; readonly expiresAtMs?: number }
  'renewal-failed': { readonly error: SessionError }
  'signed-out': { readonly reason: SignedOutReason }
  'storage-failed': { readonly error: SessionError }
  degraded: { readonly what: 'lock' | 'storage' | 'channel' | 'redirects' }
  'insufficient-scope': StepUpRequest
  request: RequestReport
}

/** With what `subscribe` hears. */
export interface AllEvents extends SessionEvents {
  changed: undefined
}

/** What a resource server asks for beyond the token it got (RFC 6750 §3.1, RFC 9470 §3). `url` is origin and path. */
export interface StepUpRequest {
  readonly url: string
  readonly scope?: string
  readonly acrValues?: string
  /** Seconds. */
  readonly maxAge?: number
}

/** One send. `url` is origin and path: a query may hold secrets. */
export interface RequestReport {
  readonly method: string
  readonly url: string
  /** 1 for the first send of a request. */
  readonly attempt: number
  /** Absent where the send itself failed. */
  readonly status?: number
  readonly startedAtMs: number
  readonly durationMs: number
}

/** The tokens of the sign-in that this context knows, and how long they live. */
export interface Held {
  readonly record: LiveRecord
  readonly life: Lifetime
  /** The storage does not have them: only this context does. */
  readonly unsaved?: boolean
}

/** Runs what an app may listen to. */
export type Announce = (announcement: () => void) => void
export const atOnce: Announce = announcement => announcement()

/** Keeps back what happens under a lock: no listener runs before it is free. */
export function createNews(): { readonly announce: Announce; tell(): void } {
  const announcements: (() => void)[] = []
  return {
    announce: announcement => void announcements.push(announcement),
    tell() {
      for (const announcement of announcements) announcement()
    },
  }
}

/** What meeting a record meant for this context. `undead`: it belongs to a sign-in that is known to have ended. */
export type Meeting = 'adopted' | 'ended' | 'known' | 'stale' | 'undead'

export interface TokenManager {
  readonly held: Held | undefined
  readonly status: SessionState['status']
  readonly state: SessionState
  /** Counts what replaces or ends a sign-in; compared after every await. */
  readonly epoch: number
  /** The highest generation seen anywhere. */
  readonly seen: number
  /** When a sign-in that begins now begins: later than all that were seen. */
  beginsAtMs(): number
  /** Somebody signed out on purpose: no headless grant may undo it. */
  readonly isSignedOutOnPurpose: boolean
  /** Whether a sign-in ended by a sign-out, here or elsewhere: a pair that arrives for it later is revoked. */
  isSignedOut(id: string): boolean
  /** Why nothing can be sent for the sign-in any more, or not yet. */
  signedOutError(challenge?: Response): SessionError
  canRenew(tokens: TokenSet): boolean
  remainingMs(): number
  ageMs(): number
  /** Order: a record from the storage or another context is compared with what is held, and adopted if it is newer. */
  meet(record: StoredRecord, announce?: Announce): Meeting
  /** The sign-out before the first read has looked: what comes from now on is new, whatever the clocks say. */
  sawAll(): void
  /** A record that a sign-in or a sign-out of this context takes the place of: the next is above it. `isSignOut`: its sign-in is over for all. */
  supersede(record: StoredRecord, isSignOut?: boolean): void
  /** A sign-in of this context takes the place of whatever was there. */
  begin(held: Held, announce?: Announce): void
  /** New tokens of the same sign-in. */
  renewed(held: Held, announce: Announce): void
  /** The same tokens, with news about their record that no app needs to hear. */
  note(held: Held): void
  end(reason: SignedOutReason, announce?: Announce): void
  /** What the first read found: a live record, nothing (with the reason, if one is known), or that it failed. Not an event, and no new epoch. */
  start(found: LiveRecord | { reason?: SignedOutReason } | { error: SessionError }, announce: Announce): void
  lifetimeOf(record: LiveRecord, bornMonotonicMs?: number): Lifetime
  subscribe(listener: () => void): () => void
  /** Resolves once the sign-in of this epoch is over; whoever waits for something else of it need not any more. */
  whenOver(epoch: number): Promise<void>
}

interface ManagerOptions {
  readonly home: Home
  readonly clock: Clock
  readonly aheadMs: number
  readonly emitter: Emitter<AllEvents>
  canRenew(tokens: TokenSet): boolean
  /** Tokens of a sign-in that ended: nobody else can hand them to the server. */
  revokeLate(id: string, tokens: TokenSet): void
}

export const signedOutFailure = (reason?: SignedOutReason): Failure => ({
  code: 'signed_out',
  message: reason
    ? `The session has ended (${reason}). Ask the user to sign in again.`
    : 'Nobody is signed in. Call session.signIn() or session.adopt() first.',
})

export function createTokenManager(options: ManagerOptions): TokenManager {
  const { home, clock, aheadMs, emitter } = options
  const revokeLate = (id: string, tokens: TokenSet) => options.revokeLate(id, tokens)
  let status: SessionState['status'] = 'starting'
  let held: Held | undefined
  let reason: SignedOutReason | undefined
  let startError: SessionError | undefined
  let snapshot: SessionState | undefined
  let epoch = 0
  let seen = 0
  let seenBegunAtMs = 0
  let isSignedOutOnPurpose = false
  // Signed out before the first read: whatever sign-in had begun by then is over, although it is not known yet.
  let blindAtMs = 0
  // What was held when the session ended here: it must not come back from a storage that still has it.
  let past: LiveRecord | undefined
  // Sign-ins that ended by a sign-out.
  let ended: Set<string> | undefined
  let over: ReturnType<typeof createOver> | undefined

  function changed(announce: Announce, tell?: () => void): void {
    snapshot = undefined
    const before = epoch
    announce(() => {
      emitter.emit('changed', undefined)
      // News of a sign-in that was replaced while the lock was being released would only confuse.
      if (before === epoch) tell?.()
    })
  }

  const expiry = () => {
    const expiresAtMs = held?.record.tokens.expiresAtMs
    return expiresAtMs === undefined ? {} : { expiresAtMs }
  }

  const isSignedOut = (id: string) => !!ended?.has(id)

  /** By a sign-out that did not know who was signed in. */
  const isMeant = ({ begunAtMs = 0 }: StoredRecord) => begunAtMs < blindAtMs

  function markSignedOut(id: string): void {
    ended ??= new Set()
    ended.add(id)
  }

  const beginsAtMs = () => Math.max(clock.now(), seenBegunAtMs + 1)

  function see({ generation, begunAtMs = 0 }: StoredRecord): void {
    seen = Math.max(seen, generation)
    seenBegunAtMs = Math.max(seenBegunAtMs, begunAtMs)
  }

  function note(next: Held): void {
    held = next
    see(next.record)
  }

  function take(next: Held): void {
    note(next)
    blindAtMs = 0
    status = 'signed-in'
    isSignedOutOnPurpose = false
  }

  /** The sign-in is over: whoever waits for its renewal learns it now. */
  function leave(why: SignedOutReason, announce: Announce): void {
    epoch++
    over?.resolve()
    over = undefined
    if (!held) return
    const { id } = held.record
    past = held.record
    if (why === 'requested' || why === 'elsewhere') markSignedOut(id)
    held = undefined
    if (home.flight?.id === id) home.flight.end(signedOutFailure(why), announce !== atOnce)
  }

  function begin(next: Held, announce: Announce = atOnce): void {
    const replaces = !!held
    leave('replaced', announce)
    take(next)
    if (replaces) announce(() => emitter.emit('signed-out', { reason: 'replaced' }))
    changed(announce, () => emitter.emit('signed-in', expiry()))
  }

  function end(why: SignedOutReason, announce: Announce = atOnce): void {
    const was = status
    if (was === 'starting' && why === 'requested') blindAtMs = beginsAtMs()
    leave(why, announce)
    if (why === 'requested' || why === 'elsewhere') {
      isSignedOutOnPurpose = true
      // Also a sign-in of its own accord that is under way, and who waits for the lock of a renewal that found its sign-in replaced.
      const isLeft = why === 'requested' && home.flight?.ended.aborted
      if (was !== 'signed-in' || isLeft) home.flight?.end(signedOutFailure(why), false)
    }
    status = 'signed-out'
    reason = why
    changed(announce, was === 'signed-out' ? undefined : () => emitter.emit('signed-out', { reason: why }))
  }

  const lifetimeOf = (record: LiveRecord, bornMonotonicMs?: number) =>
    createLifetime(record.tokens, record.savedAtMs, bornMonotonicMs, aheadMs)

  function meet(record: StoredRecord, announce: Announce = atOnce): Meeting {
    const before = seen
    see(record)
    const mine = held?.record
    const order = mine ? compareRecords(record, mine) : 1
    if (isTombstone(record)) {
      markSignedOut(record.id)
      // A signed-out id is absorbing whatever the order.
      if (mine?.id !== record.id && order <= 0) return outrank(record, 'stale')
      if (held) end('elsewhere', announce)
      isSignedOutOnPurpose = true
      // Whoever signed out had not seen these tokens, and revoked older ones.
      if (mine?.id === record.id && mine.generation >= record.generation) revokeLate(mine.id, mine.tokens)
      return 'ended'
    }
    if (isMeant(record)) markSignedOut(record.id)
    if (isSignedOut(record.id)) return outrank(record, 'undead')
    if (held && mine) {
      if (order < 0) return outrank(record, 'stale')
      if (order === 0 && isSamePair(record, mine)) {
        held = { record, life: held.life }
        return 'known'
      }
    } else if (past && compareRecords(record, past) < (past.id === record.id ? 1 : 0)) {
      // A sign-out is for what came before, too.
      return isSignedOut(past.id) ? 'undead' : 'stale'
    } else if (record.generation < before) return 'stale'
    const next: Held = { record, life: lifetimeOf(record) }
    if (held?.record.id === record.id) renewed(next, announce, 'adopted')
    // Nothing was known yet: what calls wait for is here, and nobody's sign-in ended.
    else if (status === 'starting') start(record, announce)
    else begin(next, announce)
    return 'adopted'
  }

  /** What does not count may stand above what is held, which is then raised, so that it can be written over. */
  function outrank({ generation }: StoredRecord, meeting: 'stale' | 'undead'): Meeting {
    if (held && held.record.generation <= generation)
      note({ ...held, record: { ...held.record, generation: seen + 1 } })
    return meeting
  }

  function start(found: LiveRecord | { reason?: SignedOutReason } | { error: SessionError }, announce: Announce): void {
    if ('tokens' in found) take({ record: found, life: lifetimeOf(found) })
    else if ('error' in found) startError = found.error
    else {
      status = 'signed-out'
      reason = found.reason
    }
    changed(announce)
  }

  function renewed(next: Held, announce: Announce, how: 'renewed' | 'adopted' = 'renewed'): void {
    take(next)
    changed(announce, () => emitter.emit('renewed', { how, ...expiry() }))
  }

  const manager: Omit<TokenManager, keyof Getters> & Read = {
    current: () => held,
    look: () => ({ status, epoch, seen, isSignedOutOnPurpose }),
    snapshot: () => (snapshot ??= describe()),
    beginsAtMs,
    isSignedOut,
    signedOutError(challenge) {
      if (status === 'starting' && startError) return toError(startError)
      return toError(signedOutFailure(status === 'signed-out' ? reason : epoch ? 'replaced' : undefined), challenge)
    },
    canRenew: tokens => options.canRenew(tokens),
    remainingMs: () => (held ? remainingMs(held.life, clock) : 0),
    ageMs: () => (held ? ageMs(held.life, clock) : 0),
    meet,
    sawAll() {
      blindAtMs = 0
    },
    supersede(record, isSignOut) {
      see(record)
      if (isSignOut || isTombstone(record) || isMeant(record)) markSignedOut(record.id)
    },
    begin,
    renewed,
    note,
    end,
    start,
    lifetimeOf,
    whenOver(of) {
      over ??= createOver()
      return of === epoch ? over.promise : Promise.resolve()
    },
    subscribe: listener => emitter.on('changed', listener),
  }
  return Object.setPrototypeOf(manager, Getters.prototype)

  function describe(): SessionState {
    if (status === 'signed-in' && held) {
      const { tokens } = held.record
      const { scope } = tokens
      const claims = claimsOf(tokens)
      return { status, ...expiry(), ...(scope && { scope }), ...(claims && { claims }) }
    }
    if (status === 'starting') return startError ? { status, error: startError } : { status }
    return reason ? { status: 'signed-out', reason } : { status: 'signed-out' }
  }
}

interface Read {
  current(): Held | undefined
  look(): Pick<TokenManager, 'status' | 'epoch' | 'seen' | 'isSignedOutOnPurpose'>
  snapshot(): SessionState
}

/** All managers share them: an object with getters of its own is a hash table to engines, ten times as big and slow to ask. */
abstract class Getters implements Read {
  abstract current(): Held | undefined
  abstract look(): ReturnType<Read['look']>
  abstract snapshot(): SessionState

  get held() {
    return this.current()
  }

  get status() {
    return this.look().status
  }

  get epoch() {
    return this.look().epoch
  }

  get seen() {
    return this.look().seen
  }

  get isSignedOutOnPurpose() {
    return this.look().isSignedOutOnPurpose
  }

  get state() {
    return this.snapshot()
  }
}

/** Made when somebody waits, shared by all who do. */
function createOver(): { promise: Promise<void>; resolve(): void } {
  let resolve!: () => void
  const promise = new Promise<void>(settle => {
    resolve = settle
  })
  return { promise, resolve }
}
