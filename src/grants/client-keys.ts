import { ClientSecretJwt, PrivateKeyJwt } from 'oauth4webapi'
import type { ClientAuth } from './token-endpoint.ts'
import { assertWebCrypto } from './web-crypto.ts'

/**
 * Authenticates the client by a JWT that its private key signs (RFC 7523, OpenID Connect `private_key_jwt`).
 * @param options.kid Which of the client's registered keys it is.
 * @throws SessionError `misconfigured` where there is no WebCrypto
 */
export function privateKeyJwt(key: CryptoKey, { kid }: { kid?: string } = {}): ClientAuth {
  assertWebCrypto('privateKeyJwt')
  return PrivateKeyJwt(kid ? { key, kid } : key) as ClientAuth
}

/**
 * Authenticates the client by a JWT that its secret signs (HS256, OpenID Connect `client_secret_jwt`).
 * @throws SessionError `misconfigured` where there is no WebCrypto
 */
export function clientSecretJwt(secret: string): ClientAuth {
  assertWebCrypto('clientSecretJwt')
  return ClientSecretJwt(secret) as ClientAuth
}
