import type { AttachRequest } from './attach.ts'

/** What an attach that binds tokens to a key (RFC 9449) brings beside the headers of requests: proofs for the token endpoint. */
export interface TokenBinding {
  /** The JWK thumbprint (RFC 7638) that the authorization server binds tokens to. */
  thumbprint(): Promise<string>
  /** The headers that prove the key to an authorization server. No token is involved. */
  proof(request: AttachRequest): Promise<Record<string, string>>
  /** Keeps the nonce of an answer. True: the answer asks for the same request once more, with that nonce (RFC 9449 §8). */
  keepNonce(response: Response, request: AttachRequest): Promise<boolean>
}
