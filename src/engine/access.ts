import { abortReason, type SessionError, toError } from '../values/errors.ts'
import { isFailure, type Outcome } from './flight.ts'
import type { Identity } from './identity.ts'
import type { Renewal } from './renewal.ts'
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

/** A token for a call: the one at hand where it will do, else one that was waited for. */
export interface Access {
  /** The token in memory, if nothing has to be waited for: no lock, no storage, no promise. Starts a renewal behind it inside the ahead window. */
  peek(isOneShot?: boolean): Held | undefined
  /** Starts, reads after a wake, signs in a headless grant; the token may be expired. */
  open(signal: AbortSignal | null | undefined): Promise<Held>
  /** Like `open`, and renews: whatever it takes. Rejects with a SessionError, or the signal's reason. */
  get(request: AccessRequest): Promise<Held>
  /** A token that is not the one held, for the same sign-in. `isRefused`: a server took that one for no good, so later calls wait for the other. */
  replace(held: Held, signal: AbortSignal | null | undefined, isRefused?: boolean): Promise<Outcome>
  /** The app woke up: the storage is read before anything is sent or spent. */
  wake(): void
}

export interface AccessOptions {
  readonly manager: TokenManager
  readonly identity: Identity
  readonly renewal: Renewal
  readonly signInHeadless: (() => Promise<Outcome>) | undefined
  readonly isInteractive: boolean
  readonly minIntervalMs: number
  /** Throws where the session can't be used: disposed, or called by its own grant. */
  readonly assertUsable: (signal: AbortSignal | null | undefined) => void
}

export function createAccess(options: AccessOptions): Access {
  const { manager, identity, renewal, signInHeadless } = options
  let mustRead = false
  let reading: Promise<void> | undefined
  // The token that a server refused, for as long as its replacement is under way.
  let refused: { readonly token: string; readonly outcome: Promise<Outcome> } | undefined

  function peek(isOneShot = false): Held | undefined {
    const { held } = manager
    if (!held || mustRead || held.record.tokens.accessToken === refused?.token) return undefined
    const remaining = manager.remainingMs()
    if (remaining > held.life.aheadMs) return held
    if (remaining <= 0) return undefined
    const { tokens } = held.record
    if (!manager.canRenew(tokens)) return held
    if (isOneShot) return undefined
    // Its failure is nobody's error while the token works.
    void renewal.renew(tokens.accessToken, false)
    return held
  }

  /** The sign-in that a call belongs to, whatever state its token is in. */
  async function open(signal: AbortSignal | null | undefined): Promise<Held> {
    options.assertUsable(signal)
    // A call belongs to the sign-in it began under; one that began before the first read belongs to what that finds.
    const { epoch, status } = manager
    const begun = manager.held?.record.id
    if (status === 'starting' || mustRead) {
      await abortable(Promise.race([settle(), manager.whenOver(epoch)]), signal)
    } else if (signal?.aborted) throw abortReason(signal)
    if (epoch === manager.epoch && manager.status === 'starting' && signInHeadless && !startFailure())
      await abortable(signInHeadless(), signal)
    if (manager.status === 'starting') throw startError()
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

  async function get(request: AccessRequest, isAgain = false): Promise<Held> {
    const { signal, minValidityMs = 0, isOneShot } = request
    const held = await open(signal)
    const { life, record } = held
    if (refused?.token === record.tokens.accessToken) {
      await abortable(refused.outcome, signal)
      if (manager.held?.record.id !== record.id) throw manager.signedOutError()
      return get(request)
    }
    const remaining = manager.remainingMs()
    const isShort = remaining <= minValidityMs || (isOneShot === true && remaining <= life.aheadMs)
    // A life shorter than what was asked for is not renewed over and over.
    const isHopeless = life.lifetimeMs <= minValidityMs && manager.ageMs() < options.minIntervalMs
    const canRenew = manager.canRenew(record.tokens)
    if (remaining > 0 && (!isShort || isHopeless || !canRenew)) return peek() ?? held
    if (!canRenew) {
      manager.end(record.refused ? 'refused' : 'expired')
      if (signInHeadless) return get(request)
      throw manager.signedOutError()
    }
    const outcome = await abortable(renewal.renew(record.tokens.accessToken, remaining <= 0), signal)
    const now = manager.held
    if (now?.record.id !== record.id) {
      throw isFailure(outcome) && outcome.code === 'signed_out' ? toError(outcome) : manager.signedOutError()
    }
    // One that was disposed of meanwhile heard nothing of what others brought.
    if (now === held) options.assertUsable(signal)
    request.isExpired = manager.remainingMs() <= 0
    // What others rotated meanwhile may have expired since: once more.
    if (!isFailure(outcome) && outcome.how === 'adopted' && manager.remainingMs() <= 0) {
      if (!isAgain || !manager.canRenew(now.record.tokens)) return get(request, true)
    }
    // A token that arrived expired still serves those who waited for it.
    if (!isFailure(outcome) || !request.isExpired) return now
    throw toError(outcome)
  }

  /** Leaves 'starting' and reads what a wake asked for. */
  async function settle(): Promise<void> {
    await identity.start()
    if (!mustRead) return
    reading ??= (async () => {
      if (!options.isInteractive) await identity.read(false)
      mustRead = false
    })().finally(() => {
      reading = undefined
    })
    await reading
  }

  const startFailure = () => (manager.state.status === 'starting' ? manager.state.error : undefined)

  /** Why nothing is known yet; the next call tries again. */
  function startError(): SessionError {
    const failure = startFailure()
    return failure ? toError(failure) : manager.signedOutError()
  }

  return {
    peek,
    open,
    get,
    replace(held, signal, isRefused) {
      const token = held.record.tokens.accessToken
      const outcome = renewal.renew(token, true)
      if (isRefused) {
        refused = { token, outcome }
        void outcome.then(() => {
          if (refused?.outcome === outcome) refused = undefined
        })
      }
      return abortable(outcome, signal)
    },
    wake() {
      mustRead = true
      renewal.wake()
    },
  }
}

/** Waits no longer than the caller wants to. What is waited for goes on. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal | null | undefined): Promise<T> {
  if (!signal) return work
  return new Promise((resolve, reject) => {
    const abort = () => reject(abortReason(signal))
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort)
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
