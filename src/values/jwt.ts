import { jwtDecode } from 'jwt-decode'

/** The claims of a JWT (RFC 7519 §4), as they stand there: read, never verified. */
export type Claims = Readonly<Record<string, unknown>>

/** What a token claims, or `undefined` where it is no JWT. Not a verification: a resource server verifies. */
export function readClaims(token: string | undefined): Claims | undefined {
  if (!token) return undefined
  try {
    return jwtDecode<Record<string, unknown>>(token)
  } catch {
    return undefined
  }
}
