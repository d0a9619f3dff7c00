import { SessionError } from '../values/errors.ts'

const texts: Record<string, string> = {
  access_denied: 'The user or the authorization server refused.',
  login_required: 'There is no session at the authorization server, or the browser does not show it to a frame.',
}

/**
 * A sign-in that failed for good. Its cause is made anew and names one thing: what came from outside may hold codes, claims and descriptions.
 * @param code an error code of OAuth, or the field that was wrong
 */
export function signInFailure(
  code: string,
  message = texts[code] ?? 'The authorization server refused.',
): SessionError {
  const cause = Object.assign(new Error(`${code}: ${message}`), { code })
  return new SessionError('sign_in_failed', `The sign-in failed (${code}). ${message}`, { cause })
}

/** What oauth4webapi found wrong with an answer, as the name of the field. */
export function wrongField(error: unknown): SessionError {
  const { message = '' } = (error ?? {}) as { message?: string }
  const field = /"(iss|state|nonce|aud|exp|nbf|azp|id_token|sub|alg)"/.exec(message)?.[1] ?? 'response'
  return signInFailure(field, `The ${field} of the answer is missing or not what was expected.`)
}
