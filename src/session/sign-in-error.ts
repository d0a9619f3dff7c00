import { isRefused, isSessionError, SessionError, type SessionErrorCode } from '../values/errors.ts'

const own: readonly SessionErrorCode[] = [
  'sign_in_cancelled',
  'popup_blocked',
  'misconfigured',
  'sign_in_failed',
  'invalid_token_response',
]

/** What a grant's failure to sign in means for the app: a typo of the user, or a server that is not there. */
export function signInError(error: unknown): SessionError {
  if (isSessionError(error) && own.includes(error.code)) return error
  const { status } = (error ?? {}) as { status?: unknown }
  const isFinal = isRefused(error) || (typeof status === 'number' && status < 500 && status !== 429)
  const message = isFinal
    ? 'The authorization server refused the sign-in. Check what the user typed and the client; the cause has its error code.'
    : 'The authorization server could not be reached. Try to sign in again.'
  return new SessionError('sign_in_failed', message, { cause: error, retryable: !isFinal })
}
