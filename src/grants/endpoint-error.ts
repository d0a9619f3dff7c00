/** What a token endpoint said instead of tokens. It holds the status and OAuth's error code, never the request or a description. */
export class TokenEndpointError extends Error {
  override readonly name = 'TokenEndpointError'
  readonly status: number
  /** RFC 6749 §5.2 */
  readonly error: string | undefined
  readonly retryAfter: string | undefined

  constructor(status: number, error: string | undefined, retryAfter: string | undefined) {
    super(`The authorization server answered ${status}${error ? ` ${error}` : ''}.`)
    this.status = status
    this.error = error
    this.retryAfter = retryAfter
  }
}

/** An error code as RFC 6749 §5.2 writes them. Whatever else stands there is not repeated: it may hold anything. */
export const errorCode = (value: unknown): string | undefined =>
  typeof value === 'string' && /^[\w-]{1,64}$/.test(value) ? value : undefined
