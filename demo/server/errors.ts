import type { Context } from 'hono'
import { HTTPException } from 'hono/http-exception'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { Env } from './environment.ts'

/** An answer that is no success, thrown from wherever it is found out. */
export class ApiError extends Error {
  readonly status: ContentfulStatusCode
  readonly body: Record<string, unknown>
  readonly headers: Record<string, string>

  constructor(status: ContentfulStatusCode, body: Record<string, unknown>, headers: Record<string, string> = {}) {
    super(String(body.error ?? body.detail))
    this.status = status
    this.body = body
    this.headers = headers
  }
}

/** The shape of RFC 6749 §5.2, which all of this server's errors have but those of POST /token/refresh. */
export function apiError(
  status: ContentfulStatusCode,
  error: string,
  description: string,
  headers?: Record<string, string>,
): ApiError {
  return new ApiError(status, { error, error_description: description }, headers)
}

/** 400, as RFC 6749 §5.2 answers everything but a client that failed to authenticate. */
export function oauthError(error: string, description: string): ApiError {
  return apiError(400, error, description)
}

export function answerError(error: Error, c: Context<Env>): Response {
  if (error instanceof ApiError) return c.json(error.body, error.status, error.headers)
  if (error instanceof HTTPException) return c.json({ error: 'invalid_request' }, error.status as ContentfulStatusCode)
  // Whoever hung up in the middle of a body hears nothing of it, and it is no fault of the server.
  if (c.req.raw.signal.aborted) return c.json({ error: 'invalid_request' }, 400)
  console.error(error)
  return c.json({ error: 'server_error', error_description: 'The server failed; this is a bug of it.' }, 500)
}
