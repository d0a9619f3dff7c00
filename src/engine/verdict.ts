import { type Failure, isRefused, isSessionError } from '../values/errors.ts'

/** What a grant's failure means for the session. */
export type Verdict =
  /** A definitive answer about the refresh token. */
  | { readonly what: 'refused'; readonly cause: unknown }
  /** Everything else: the session is kept. */
  | {
      readonly what: 'unreachable'
      readonly failure: Failure
      /** A 4xx that may be about the refresh token or the client; 408, 425 and 429 are not. */
      readonly isClientError: boolean
      /** Worth another try at once. */
      readonly isPassing: boolean
      /** The server gives no token for this resource or scope (RFC 8707 §2, RFC 6749 §5.2): that says nothing about the session. */
      readonly isTargetRefused: boolean
    }

/** What Latchkey reads of a grant's error: all of it optional. */
interface GrantError {
  readonly error?: unknown
  readonly status?: unknown
  readonly retryAfter?: unknown
}

export const longestRetryAfterMs = 3_600_000

/**
 * Judges what `grant.renew` threw. Only OAuth's `invalid_grant` (RFC 6749 §5.2), `refused()` and the app's own predicate end a session;
 * network trouble, 5xx, 429, HTML, proxies, a bare 401 and `invalid_client` in the middle of a deploy do not.
 */
export async function judge(
  error: unknown,
  nowMs: number,
  isRefusedByApp: ((error: unknown) => boolean) | undefined,
): Promise<Verdict> {
  const code = await errorCodeOf(error)
  if (isRefused(error) || code === 'invalid_grant' || says(isRefusedByApp, error))
    return { what: 'refused', cause: error }
  const { status, retryAfter } = describe(error)
  const is4xx = status >= 400 && status < 500
  const retryAtMs = retryAfterMs(retryAfter, nowMs)
  const isInvalid = isSessionError(error) && error.code === 'invalid_token_response'
  return {
    what: 'unreachable',
    isClientError: is4xx && ![408, 425, 429].includes(status),
    isPassing: !is4xx && !retryAtMs,
    isTargetRefused: code === 'invalid_target' || code === 'invalid_scope',
    failure: {
      code: isInvalid ? 'invalid_token_response' : 'unreachable',
      message: isInvalid
        ? error.message
        : `The token could not be renewed${status ? ` (HTTP ${status})` : ''}. The session is kept; try again later.`,
      cause: error,
      ...(retryAtMs && { retryAtMs }),
    },
  }
}

/** OAuth's error code (RFC 6749 §5.2). A custom grant may throw the `Response` that it got; its body may have been read already. */
async function errorCodeOf(error: unknown): Promise<unknown> {
  if (!isResponse(error)) return (error as GrantError | undefined)?.error
  if (error.status < 400 || error.status > 499) return undefined
  try {
    return ((await error.clone().json()) as { error?: unknown } | null)?.error
  } catch {
    return undefined
  }
}

/** A predicate that throws has not said yes. */
function says(predicate: ((error: unknown) => boolean) | undefined, error: unknown): boolean {
  try {
    return predicate?.(error) === true
  } catch {
    return false
  }
}

const isResponse = (value: unknown): value is Response =>
  typeof (value as Response | undefined)?.status === 'number' && typeof (value as Response).headers?.get === 'function'

function describe(error: unknown): { status: number; retryAfter: unknown } {
  if (isResponse(error)) return { status: error.status, retryAfter: error.headers.get('retry-after') }
  const { status, retryAfter } = (error ?? {}) as GrantError
  return { status: typeof status === 'number' ? status : 0, retryAfter }
}

/** Epoch milliseconds of a Retry-After value, in seconds or as a date (RFC 9110 §10.2.3), at most an hour ahead. */
function retryAfterMs(value: unknown, nowMs: number): number | undefined {
  if (typeof value !== 'string' || !value) return undefined
  const seconds = Number(value)
  const atMs = Number.isNaN(seconds) ? Date.parse(value) : nowMs + seconds * 1000
  return atMs > nowMs ? Math.min(atMs, nowMs + longestRetryAfterMs) : undefined
}
