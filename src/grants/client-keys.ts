import { ClientSecretJwt, PrivateKeyJwt } from 'oauth4webapi'
import type { ClientAuth } from './token-endpoint.ts'
import { assertWebCrypto } from './web-crypto.ts'

/**
 * Authenticates the client by a JWT that its private key signs (RFC 7523, OpenID Connect `private_key_jwt`).
 * The assertion names the issuer as its audience and lives a minute; each request has its own.
 * @param key A private key that may sign; its algorithm (ES256, RS256, PS256, EdDSA and their like) is the assertion's.
 * @param options.kid Which of the client's registered keys it is.
 * @throws SessionError `misconfigured` where there is no WebCrypto
 */
export function privateKeyJwt(key: CryptoKey, { kid }: { kid?: string } = {}): ClientAuth {
  assertWebCrypto('privateKeyJwt')
  return PrivateKeyJwt(kid ? { key, kid } : key) as ClientAuth
}

/**
 * Authenticates the client by a JWT that its secret signs (RFC 7523, HS256, OpenID Connect `client_secret_jwt`): the secret itself is
 * never sent.
 * @throws SessionError `misconfigured` where there is no WebCrypto
 */
export function clientSecretJwt(secret: string): ClientAuth {
  assertWebCrypto('clientSecretJwt')
  return ClientSecretJwt(secret) as ClientAuth
}
