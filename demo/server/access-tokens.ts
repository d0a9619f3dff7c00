import { randomUUID } from 'node:crypto'
import { createLocalJWKSet, errors, type JWTPayload, jwtVerify, SignJWT } from 'jose'
import type { Clock } from './environment.ts'
import type { Family, RefreshTokens } from './refresh-tokens.ts'
import type { SigningKey } from './signing-keys.ts'

export interface AccessTokenClaims extends JWTPayload {
  sub: string
  client_id: string
  scope: string
  sid: string
  jti: string
  iat: number
  exp: number
}

export interface AccessTokenOptions {
  issuer: string
  ttlMs: number
  /** Told of each token that is issued, and asked about each that comes back. */
  faults: { issued(jti: string): void; rejects(jti: string): boolean }
}

export type AccessTokens = ReturnType<typeof accessTokenIssuer>

/** Access tokens are JWTs (RFC 9068) that die with their family, however long they would have lived. */
export function accessTokenIssuer(key: SigningKey, families: RefreshTokens, clock: Clock, options: AccessTokenOptions) {
  const { issuer, ttlMs, faults } = options
  const keys = createLocalJWKSet(key.jwks)

  return {
    /** In whole seconds, as on the wire. */
    lifetime: Math.max(1, Math.floor(ttlMs / 1000)),

    async issue(family: Family, scope: string): Promise<string> {
      const jti = randomUUID()
      const nowSeconds = clock() / 1000
      faults.issued(jti)
      return new SignJWT({ client_id: family.clientId, scope, sid: family.sid })
        .setProtectedHeader({ alg: 'ES256', kid: key.kid, typ: 'at+jwt' })
        .setIssuer(issuer)
        .setAudience(issuer)
        .setSubject(family.subject)
        .setJti(jti)
        .setIssuedAt(Math.floor(nowSeconds))
        .setExpirationTime(Math.ceil(nowSeconds) + this.lifetime) // rounded so that it never dies before `expires_in`
        .sign(key.privateKey)
    },

    /** The claims of a token that works, here and now. */
    async verify(token: string): Promise<AccessTokenClaims | undefined> {
      try {
        const { payload } = await jwtVerify<AccessTokenClaims>(token, keys, {
          issuer,
          audience: issuer,
          algorithms: ['ES256'],
          typ: 'at+jwt',
          currentDate: new Date(clock()),
        })
        return families.isLive(payload.sid) && !faults.rejects(payload.jti) ? payload : undefined
      } catch (error) {
        if (error instanceof errors.JOSEError) return undefined
        throw error
      }
    },
  }
}
