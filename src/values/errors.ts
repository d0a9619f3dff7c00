/** Why a call could not be served. A closed union: switch over it. */
export type SessionErrorCode =
  | 'sign_in_failed'
  | 'token_refused'
  | 'sign_in_cancelled'
  | 'popup_blocked'
  | 'signed_out'
  | 'unreachable'
  | 'storage_unavailable'
  | 'lock_timeout'
  | 'read_only'
  | 'reentrant'
  | 'invalid_token_response'
  | 'redirect_refused'
  | 'misconfigured'
  | 'disposed'

/** What a {@link SessionError} says beside its code and message. */
export interface SessionErrorDetails {
  /** The same call may succeed later without a human. @default by code: true for `unreachable`, `storage_unavailable`, `lock_timeout`, `invalid_token_response` */
  retryable?: boolean | undefined
  /** Only a new sign-in helps. @default true for `signed_out` */
  signInRequired?: boolean | undefined
  /** Epoch milliseconds before which another try is pointless. */
  retryAtMs?: number | undefined
  /** The 401 that the server gave, unread, where there was one. */
  challenge?: Response | undefined
  cause?: unknown
}

const retryableCodes: readonly SessionErrorCode[] = [
  'unreachable',
  'storage_unavailable',
  'lock_timeout',
  'invalid_token_response',
]

/**
 * The one error class of the package. `code` is stable, `message` is for people and never holds a token.
 * `challenge` is deliberately not called `response`: HTTP clients write into `error.response`.
 */
export class SessionError extends Error {
  override readonly name = 'SessionError'
  readonly code: SessionErrorCode
  readonly retryable: boolean
  readonly signInRequired: boolean
  readonly retryAtMs?: number
  readonly challenge?: Response

  constructor(code: SessionErrorCode, message: string, details: SessionErrorDetails = {}) {
    super(message, details)
    this.code = code
    this.retryable = details.retryable ?? retryableCodes.includes(code)
    this.signInRequired = details.signInRequired ?? code === 'signed_out'
    if (details.retryAtMs !== undefined) this.retryAtMs = details.retryAtMs
    if (details.challenge) this.challenge = details.challenge
  }
}

/** Recognises a {@link SessionError}, also one of another copy of this module or another realm. */
export const isSessionError = (value: unknown): value is SessionError =>
  (value as SessionError | undefined)?.name === 'SessionError' && typeof (value as SessionError).code === 'string'

/**
 * Why a renewal did not bring a token: shared by everybody who waited for it.
 * It is data and not an error, since each waiter gets an instance of its own.
 */
export interface Failure extends SessionErrorDetails {
  readonly code: SessionErrorCode
  readonly message: string
}

export const toError = (failure: Failure, challenge?: Response): SessionError =>
  new SessionError(failure.code, failure.message, challenge ? { ...failure, challenge } : failure)

/** A definitive "no" about the refresh token, made by {@link refused}. */
export class Refused extends Error {
  override readonly name = 'Refused'
  /** Structural brand: a grant may come from another copy of this module. */
  readonly refused = true
}

/**
 * Says in a custom grant that the refresh token is dead for good: `throw refused(cause)`.
 * Everything else that a grant throws keeps the session and is tried again later.
 */
export const refused = (cause?: unknown): Refused =>
  new Refused('The authorization server refused the refresh token.', { cause })

export const isRefused = (error: unknown): error is Refused => (error as Refused | undefined)?.refused === true

/** The reason of an aborted signal, or an Error named `AbortError` where the platform keeps none (abort-controller 3). */
export const abortReason = (signal: AbortSignal): unknown =>
  signal.reason ?? Object.assign(new Error('This operation was aborted'), { name: 'AbortError' })
