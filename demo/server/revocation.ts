import { Hono } from 'hono'
import { authenticateClient } from './client-authentication.ts'
import type { Env } from './environment.ts'
import { oauthError } from './errors.ts'
import { readForm, required } from './request-body.ts'
import type { Services } from './services.ts'

/** POST /revoke (RFC 7009): either token of a session ends all of it. */
export function revocation(services: Services): Hono<Env> {
  const { refreshTokens, accessTokens, activity } = services

  return new Hono<Env>().post('/', async c => {
    const form = await readForm(c)
    const client = await authenticateClient(c, form, services)
    const token = required(form, 'token')
    const session = refreshTokens.find(token)?.family ?? sessionOf(await accessTokens.verify(token))
    // §2.2: a token that is unknown or dead is what the client wanted.
    if (!session) return c.body(null, 200)
    if (session.clientId !== client.id) {
      throw oauthError('unauthorized_client', 'The token was issued to another client.')
    }
    if (refreshTokens.revoke(session.sid)) {
      const { sid, subject, clientId } = session
      activity.record('revoked', { owner: subject, clientId, sid, address: c.get('address') })
    }
    return c.body(null, 200)
  })
}

function sessionOf(claims: { sid: string; sub: string; client_id: string } | undefined) {
  return claims && { sid: claims.sid, subject: claims.sub, clientId: claims.client_id }
}
