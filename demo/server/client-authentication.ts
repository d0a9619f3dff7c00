import type { Context } from 'hono'
import { mayCallFrom } from './client-address.ts'
import type { Client } from './clients.ts'
import type { Env } from './environment.ts'
import { apiError, oauthError } from './errors.ts'
import { verifyPassword } from './passwords.ts'
import type { Services } from './services.ts'

/** The client that sent this form, by client_secret_basic, client_secret_post, or by its id alone where it is public. */
export async function authenticateClient(
  c: Context<Env>,
  form: ReadonlyMap<string, string>,
  { clients }: Pick<Services, 'clients'>,
): Promise<Client> {
  const authorization = c.req.header('authorization')
  if (authorization !== undefined && form.has('client_secret')) {
    throw oauthError('invalid_request', 'A client may authenticate in one way only (RFC 6749 §2.3).')
  }
  const { id, secret } =
    authorization === undefined
      ? { id: form.get('client_id'), secret: form.get('client_secret') }
      : basicCredentials(authorization)
  if (authorization !== undefined && form.has('client_id') && form.get('client_id') !== id) {
    throw oauthError('invalid_request', 'The body and the Authorization header name two clients.')
  }
  if (id === undefined) throw invalidClient('There is no client_id.', authorization)

  const client = clients.find(id)
  const isPublic = client !== undefined && client.secretHash === undefined
  const isKnown = isPublic ? secret === undefined : await verifyPassword(secret ?? '', client?.secretHash)
  if (!client || !isKnown) throw invalidClient('The client is unknown, or its secret is wrong.', authorization)

  assertAddress(c, client)
  return client
}

/** Refuses a client that calls from an address it may not use. */
export function assertAddress(c: Context<Env>, client: Client): void {
  if (mayCallFrom(client.addresses, c.get('address'))) return
  throw apiError(403, 'access_denied', 'This client may not call from this address.')
}

/** RFC 6749 §2.3.1: id and secret are form-encoded before they go into the Basic scheme; an empty secret is none. */
function basicCredentials(authorization: string): { id: string; secret: string | undefined } {
  const [, encoded] = /^Basic +([\w+/=-]+) *$/i.exec(authorization) ?? []
  const [, id, secret] = /^([^:]+):(.*)$/s.exec(Buffer.from(encoded ?? '', 'base64').toString()) ?? []
  try {
    if (id !== undefined && secret !== undefined)
      return { id: formDecoded(id), secret: formDecoded(secret) || undefined }
  } catch {
    // A percent sign without its digits: the answer is the same as for any other malformed header.
  }
  throw invalidClient('The Authorization header is not that of client_secret_basic.', authorization)
}

function formDecoded(text: string): string {
  return decodeURIComponent(text.replaceAll('+', ' '))
}

function invalidClient(description: string, authorization: string | undefined) {
  // A challenge only to those who used the header: in a page it would make the browser ask for a password.
  const headers = authorization === undefined ? undefined : { 'WWW-Authenticate': 'Basic realm="token"' }
  return apiError(401, 'invalid_client', description, headers)
}
