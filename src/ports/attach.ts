import type { TokenSet } from '../values/token-set.ts'

/** The request that a token is put on. `url` is absolute. */
export interface AttachRequest {
  readonly method: string
  readonly url: string
}

/** How a token is put on a request: the headers to set. Bearer (RFC 6750), DPoP (RFC 9449) or a header of one's own. */
export interface Attach {
  (request: AttachRequest, tokens: TokenSet): Record<string, string> | Promise<Record<string, string>>
  /** Where the token goes into `Authorization` whatever the request: its value. */
  authorization?(tokens: TokenSet): string
  /** Whether the answer asks for the same request once more with other headers (a DPoP nonce, RFC 9449 §8). Not a renewal. */
  retry?(response: Response, request: AttachRequest): boolean | Promise<boolean>
}
