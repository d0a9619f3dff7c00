import { SessionError } from './errors.ts'
import { type Claims, readClaims } from './jwt.ts'

/** A successful token response as it stands on the wire (RFC 6749 §5.1). Further members are allowed and ignored. */
export interface TokenResponse {
  access_token: string
  token_type?: string | undefined
  /** Seconds. */
  expires_in?: number | string | undefined
  refresh_token?: string | null | undefined
  scope?: string | null | undefined
  id_token?: string | null | undefined
  /** Not of the wire: the session adds it to the answer of a sign-in whose token is bound to a key. */
  jkt?: string | undefined
}

/** Tokens as grants and attaches see them. */
export interface TokenSet {
  readonly accessToken: string
  readonly refreshToken?: string
  /** As the server wrote it, `Bearer` where it said nothing. Compare without case (RFC 6749 §5.1). */
  readonly tokenType: string
  /** Epoch milliseconds; absent where the server did not say and the token is no JWT. */
  readonly expiresAtMs?: number
  readonly scope?: string
  readonly idToken?: string
  /** The thumbprint (RFC 7638) of the key that the tokens are bound to (RFC 9449 §6). */
  readonly jkt?: string
}

// What a header can carry. A token with a line break would make every request throw.
const headerSafe = /^[\x21-\x7e]+$/

const given = (value: unknown): value is string => typeof value === 'string' && value !== ''

/**
 * Reads a token response. Its life counts from `sentAtMs`, when it was asked for: the answer's way back is part of it.
 * What a renewal leaves out is kept from `previous` (RFC 6749 §6: no refresh_token in the answer keeps the old one).
 * @throws SessionError `invalid_token_response`: a 200 that holds no usable token
 */
export function readTokenResponse(response: unknown, sentAtMs: number, previous?: TokenSet): TokenSet {
  const wire = (response ?? {}) as TokenResponse
  if (!given(wire.access_token) || !headerSafe.test(wire.access_token)) {
    throw new SessionError(
      'invalid_token_response',
      'The answer holds no usable access_token. A grant resolves with the shape of RFC 6749 §5.1: { access_token, expires_in, refresh_token }.',
    )
  }
  const lifetimeMs = lifetimeSeconds(wire) * 1000
  const expiresAtMs = sentAtMs + lifetimeMs
  const refreshToken = given(wire.refresh_token) ? wire.refresh_token : previous?.refreshToken
  const scope = given(wire.scope) ? wire.scope : previous?.scope
  const idToken = given(wire.id_token) ? wire.id_token : previous?.idToken
  const { jkt } = previous ?? wire
  return {
    accessToken: wire.access_token,
    tokenType: given(wire.token_type) ? wire.token_type : 'Bearer',
    ...(refreshToken && { refreshToken }),
    ...(Number.isSafeInteger(Math.round(expiresAtMs)) && { expiresAtMs }),
    ...(scope && { scope }),
    ...(idToken && { idToken }),
    ...(jkt && { jkt }),
  }
}

/** What is claimed about the user: the id token's word, else the access token's. */
export const claimsOf = ({ idToken, accessToken }: TokenSet): Claims | undefined =>
  readClaims(idToken) ?? readClaims(accessToken)

/** Whether both are known to be of one user, or known to be of two; `undefined` where it can't be told. */
export function isSameUser(one: TokenSet, other: TokenSet): boolean | undefined {
  const [a, b] = [one, other].map(claimsOf)
  return a?.sub && b?.sub ? a.sub === b.sub && a.iss === b.iss : undefined
}

/** NaN where nobody knows. A JWT's own life span serves where `expires_in` is missing; its absolute `exp` would trust a foreign clock. */
function lifetimeSeconds({ expires_in, access_token }: TokenResponse): number {
  if (typeof expires_in === 'number' || given(expires_in)) return Number(expires_in)
  const claims = readClaims(access_token)
  return Number(claims?.exp) - Number(claims?.iat)
}
