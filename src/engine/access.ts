import { abortReason, toError } from '../values/errors.ts'
import type { MaybePromise } from '../values/maybe-promise.ts'
import { isFailure, type Outcome } from './flight.ts'
import type { Identity } from './identity.ts'
import type { Renewal } from './renewal.ts'
import type { Subject } from './subject.ts'
import type { Held, TokenManager } from './token-manager.ts'

export interface AccessRequest {
  readonly signal?: AbortSignal | null | undefined
  /** The token should live at least this long. */
  readonly minValidityMs?: number | undefined
  /** The body can be sent once: a token about to expire is renewed before, not behind. */
  readonly isOneShot?: boolean | undefined
  /** Set by `get`: what it waited for arrived expired, and another renewal would bring nothing better. */
  isExpired?: boolean
}

export interface AccessOptions {
  readonly identity: Identity
  /** The first read; again after one that failed. */
  open(): MaybePromise<void>
  /** Made when it is first needed. */
  readonly renewal: Renewal
  readonly signInHeadless: (() => Promise<Outcome>) | undefined
  readonly isInteractive: boolean
  readonly minIntervalMs: number
  /** Throws where the session can't be used: disposed, or called by its own grant. */
  assertUsable(signal: AbortSignal | null | undefined): void
}

const mostAdoptions = 5

/** A token for a call: the one at hand where it will do, else one that was waited for. */
export class Access {
  private readonly options: AccessOptions
  readonly manager: TokenManager
  private readonly subject: Subject | undefined
  private mustRead = false
  private reading: Promise<unknown> | undefined
  // The token that a server refused, for as long as its replacement is under way.
  private refused: { readonly token: string; readonly outcome: Promise<Outcome> } | undefined

  /** `subject`: what tokens are for, where it is not the session's own. */
  constructor(options: AccessOptions, manager: TokenManager, subject?: Subject) {
    this.options = options
    this.manager = manager
    this.subject = subject
  }

  /** The token in memory, if nothing has to be waited for: no lock, no storage, no promise. Starts a renewal behind it inside the ahead window. */
  peek(isOneShot = false): Held | undefined {
    const { manager } = this
    const { held } = manager
    if (!held || this.mustRead || held.record.tokens.accessToken === this.refused?.token) return undefined
    const remaining = manager.remainingMs()
    if (remaining > held.life.aheadMs) return held
    if (remaining <= 0) return undefined
    const { tokens } = held.record
    if (!manager.canRenew(tokens)) return held
    if (isOneShot) return undefined
    // Its failure is nobody's error while the token works.
    void this.renew(tokens.accessToken, false)
    return held
  }

  /** Starts, reads after a wake, signs in a headless grant: the sign-in that a call belongs to, whatever state its token is in. */
  async open(signal: AbortSignal | null | undefined): Promise<Held> {
    const { manager, options } = this
    const { signInHeadless } = options
    options.assertUsable(signal)
    // A call belongs to the sign-in it began under; one that began before the first read belongs to what that finds.
    const { epoch, status } = manager
    const begun = manager.held?.record.id
    if (status === 'starting' || this.mustRead) {
      await abortable(Promise.race([this.settle(), manager.whenOver(epoch)]), signal)
    } else if (signal?.aborted) throw abortReason(signal)
    if (manager.status === 'starting' && signInHeadless && !('error' in manager.state))
      await abortable(signInHeadless(), signal)
    if (manager.status === 'starting') throw manager.signedOutError()
    const isReplaced =
      begun === undefined ? status === 'starting' && manager.epoch !== epoch : manager.held?.record.id !== begun
    if (isReplaced) throw manager.signedOutError()
    if (!manager.held && signInHeadless && !manager.isSignedOutOnPurpose) {
      const outcome = await abortable(signInHeadless(), signal)
      if (isFailure(outcome)) throw toError(outcome)
    }
    if (!manager.held) throw manager.signedOutError()
    return manager.held
  }

  /** Like `open`, and renews: whatever it takes. Rejects with a SessionError, or the signal's reason. */
  async get(request: AccessRequest, adoptions = 0): Promise<Held> {
    const { manager, options } = this
    const { signal, minValidityMs = 0, isOneShot } = request
    const held = await this.open(signal)
    const { life, record } = held
    if (this.refused?.token === record.tokens.accessToken) {
      await abortable(this.refused.outcome, signal)
      if (manager.held?.record.id !== record.id) throw manager.signedOutError()
      return this.get(request)
    }
    const remaining = manager.remainingMs()
    const isShort = remaining <= minValidityMs || (isOneShot === true && remaining <= life.aheadMs)
    // A life shorter than what was asked for is not renewed over and over.
    const isHopeless = life.lifetimeMs <= minValidityMs && manager.ageMs() < options.minIntervalMs
    const canRenew = manager.canRenew(record.tokens)
    if (remaining > 0 && (!isShort || isHopeless || !canRenew)) return this.peek() ?? held
    if (!canRenew) {
      manager.end(record.refused ? 'refused' : 'expired')
      if (options.signInHeadless) return this.get(request)
      throw manager.signedOutError()
    }
    const outcome = await abortable(this.renew(record.tokens.accessToken, remaining <= 0), signal)
    const now = manager.held
    if (now?.record.id !== record.id) {
      throw isFailure(outcome) && outcome.code === 'signed_out' ? toError(outcome) : manager.signedOutError()
    }
    // One that was disposed of meanwhile heard nothing of what others brought.
    if (now === held) options.assertUsable(signal)
    request.isExpired = manager.remainingMs() <= 0
    // What others rotated meanwhile may have expired since: again, but not for ever where tokens live no time at all.
    const isOthers = now.life.bornMonotonicMs === undefined && now.life.lifetimeMs > 0
    if (request.isExpired && !isFailure(outcome) && (outcome.how === 'adopted' || isOthers)) {
      if (adoptions < mostAdoptions || !manager.canRenew(now.record.tokens)) return this.get(request, adoptions + 1)
    }
    // A token that arrived expired still serves those who waited for it.
    if (!isFailure(outcome) || !request.isExpired) return now
    throw toError(outcome)
  }

  /** A token that is not the one held, for the same sign-in. `isRefused`: a server took that one for no good, so later calls wait for the other. */
  replace(held: Held, signal: AbortSignal | null | undefined, isRefused?: boolean): Promise<Outcome> {
    const token = held.record.tokens.accessToken
    const outcome = this.renew(token, true)
    if (isRefused) {
      this.refused = { token, outcome }
      void outcome.then(() => {
        if (this.refused?.outcome === outcome) this.refused = undefined
      })
    }
    return abortable(outcome, signal)
  }

  /** The app woke up: the storage is read before anything is sent or spent. */
  wake(): void {
    this.mustRead = true
    this.reading = undefined
  }

  private renew(rejected: string, isUrgent: boolean): Promise<Outcome> {
    return this.options.renewal.renew(rejected, isUrgent, this.subject)
  }

  /** Leaves 'starting' and reads what a wake asked for. */
  private async settle(): Promise<void> {
    const { options } = this
    await options.open()
    if (!this.mustRead) return
    if (!this.reading) {
      const reading = (async () => options.isInteractive || options.identity.read(false))()
        .then(() => {
          if (this.reading === reading) this.mustRead = false
        })
        .finally(() => {
          if (this.reading === reading) this.reading = undefined
        })
      this.reading = reading
    }
    await this.reading
    // Woken up again meanwhile: that read may have begun before.
    return this.settle()
  }
}

/** Waits no longer than the caller wants to. What is waited for goes on. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal | null | undefined): Promise<T> {
  if (!signal) return work
  return new Promise((resolve, reject) => {
    const abort = () => reject(abortReason(signal))
    signal.addEventListener('abort', abort)
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
    if (signal.aborted) abort()
  })
}
