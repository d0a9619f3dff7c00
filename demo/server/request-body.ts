import type { Context } from 'hono'
import { apiError, oauthError } from './errors.ts'

/**
 * The form of an OAuth endpoint. RFC 6749 §3.2: a parameter without a value counts as not sent, and none may be sent twice.
 */
export async function readForm(c: Context): Promise<ReadonlyMap<string, string>> {
  if (mediaType(c) !== 'application/x-www-form-urlencoded') {
    throw oauthError('invalid_request', 'The body has to be application/x-www-form-urlencoded.')
  }
  const form = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(await c.req.text())) {
    if (form.has(name)) throw oauthError('invalid_request', 'A parameter was sent more than once.')
    form.set(name, value)
  }
  return new Map([...form].filter(([, value]) => value !== ''))
}

export function required(form: ReadonlyMap<string, string>, name: string): string {
  const value = form.get(name)
  if (value === undefined) throw oauthError('invalid_request', `The parameter ${name} is missing.`)
  return value
}

/** The body as JSON: 415 where it says that it is something else, 400 where it is not. */
export async function readJson(c: Context): Promise<unknown> {
  if (mediaType(c) !== 'application/json') {
    throw apiError(415, 'unsupported_media_type', 'The body has to be application/json.')
  }
  try {
    return JSON.parse(await c.req.text())
  } catch {
    throw apiError(400, 'invalid_request', 'The body is not valid JSON.')
  }
}

export async function readJsonObject(c: Context): Promise<Record<string, unknown>> {
  const value = await readJson(c)
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw apiError(400, 'invalid_request', 'The body has to be a JSON object.')
}

function mediaType(c: Context): string | undefined {
  return c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase()
}
