import type { Context } from 'hono'
import type { AccessTokenClaims } from './access-tokens.ts'
import { assertAddress } from './client-authentication.ts'
import type { Env } from './environment.ts'
import { apiError } from './errors.ts'
import { scopeWords } from './scopes.ts'
import type { Services } from './services.ts'

const realm = 'realm="demo"'

/** The claims of the bearer token of this call (RFC 6750 §2.1), which has to have the scope. */
export async function authenticateBearer(
  c: Context<Env>,
  { accessTokens, clients, activity }: Services,
  scope: string,
): Promise<AccessTokenClaims> {
  const authorization = c.req.header('authorization')
  if (authorization === undefined) {
    // RFC 6750 §3.1: who sent nothing is told what to send, and no error.
    throw apiError(401, 'unauthorized', 'This needs an access token.', { 'WWW-Authenticate': `Bearer ${realm}` })
  }
  const [, token] = /^Bearer +([\w.~+/-]+=*) *$/i.exec(authorization) ?? []
  const claims = token === undefined ? undefined : await accessTokens.verify(token)
  const client = claims && clients.find(claims.client_id)
  if (!claims || !client) throw challenge(401, 'invalid_token', 'The access token is expired, revoked or malformed.')
  assertAddress(c, client)
  if (!scopeWords(claims.scope).includes(scope)) {
    throw challenge(403, 'insufficient_scope', `This needs the scope ${scope}.`, `, scope="${scope}"`)
  }
  activity.seen({ owner: claims.sub, clientId: client.id, sid: claims.sid, address: c.get('address') })
  return claims
}

function challenge(status: 401 | 403, error: string, description: string, more = '') {
  return apiError(status, error, description, {
    'WWW-Authenticate': `Bearer ${realm}, error="${error}", error_description="${description}"${more}`,
  })
}
