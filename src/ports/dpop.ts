import type { SessionError } from '../values/errors.ts'
import type { MaybePromise } from '../values/maybe-promise.ts'
import type { TokenResponse, TokenSet } from '../values/token-set.ts'
import type { Attach, AttachRequest } from './attach.ts'
import type { Grant } from './grant.ts'

/** What an attach that binds tokens to a key (RFC 9449) brings beside the headers of requests: proofs for the token endpoint. */
export interface TokenBinding {
  /** The JWK thumbprint (RFC 7638) that the authorization server binds tokens to. */
  thumbprint(): Promise<string>
  /** The headers that prove the key to an authorization server. No token is involved. */
  proof(request: AttachRequest): Promise<Record<string, string>>
  /** Keeps the nonce of an answer. True: the answer asks for the same request once more, with that nonce (RFC 9449 §8). */
  keepNonce(response: Response, request: AttachRequest): Promise<boolean>
  /** Ties what a session has of the grant to the key (RFC 9449 §6). `onLost` ends the session and says why. */
  tie(grant: Grant<never>, onLost: (tokens: TokenSet) => SessionError): TiedToKey
}

/** Where the key of the tokens is gone nothing is sent any more, since no server would take it. */
export interface TiedToKey {
  readonly grant: Grant<never>
  readonly attach: Attach
  /** A token response of a sign-in, with the thumbprint of the key that it is bound to. */
  bind<Response extends TokenResponse | undefined>(response: Response): MaybePromise<Response>
  /** Rejects, without network, where the key of these tokens is not the one at hand. */
  check(tokens: TokenSet): Promise<void>
}
