/** The words in which `openapi.ts` describes the routes. */
export type Json = Record<string, unknown>

export const text = { type: 'string' }
export const clientFields = { client_id: { type: 'string', default: 'demo' }, client_secret: text }
/** RFC 6749 §2.3: by header, or by the fields of the form. */
export const clientSecurity = [{ client: [] }, {}]

const descriptions: Record<number, string> = {
  400: 'The request is wrong',
  401: 'Not authenticated',
  403: 'Not allowed',
  404: 'There is no such thing',
  413: 'The body is too large',
  415: 'The body is of the wrong type',
}

/** An access token with this scope, a user's or a service's. */
export function bearer(scope: string): Json[] {
  return [{ user: [scope] }, { service: [scope] }]
}

export function operation(tag: string, summary: string, rest: Json): Json {
  return { tags: [tag], summary, ...rest }
}

export function ref(schema: string): Json {
  return { $ref: `#/components/schemas/${schema}` }
}

export function answer(description: string, schema: string): Json {
  return { description, content: { 'application/json': { schema: ref(schema) } } }
}

export function errors(...statuses: number[]): Json {
  return Object.fromEntries(statuses.map(status => [status, answer(descriptions[status] ?? '', 'Error')]))
}

export function json(schema: Json): Json {
  return { required: true, content: { 'application/json': { schema } } }
}

export function form(properties: Json, required: string[]): Json {
  const schema = { type: 'object', properties, required }
  return { required: true, content: { 'application/x-www-form-urlencoded': { schema } } }
}

export function pathParameter(name: string): Json {
  return { name, in: 'path', required: true, schema: text }
}
