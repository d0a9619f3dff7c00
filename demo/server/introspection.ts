import { Hono } from 'hono'
import { authenticateClient } from './client-authentication.ts'
import type { Env } from './environment.ts'
import { apiError } from './errors.ts'
import { readForm, required } from './request-body.ts'
import type { Services } from './services.ts'

/** POST /introspect (RFC 7662), for clients with a secret: §2.1 wants callers that nobody can pose as. */
export function introspection(services: Services): Hono<Env> {
  const { issuer, accessTokens, refreshTokens } = services

  return new Hono<Env>().post('/', async c => {
    const form = await readForm(c)
    const client = await authenticateClient(c, form, services)
    if (client.secretHash === undefined) throw apiError(401, 'invalid_client', 'This needs a client with a secret.')
    const token = required(form, 'token')

    const claims = await accessTokens.verify(token)
    if (claims) return c.json({ active: true, token_type: 'Bearer', username: claims.sub, ...claims })

    const found = refreshTokens.find(token)
    if (!found?.active) return c.json({ active: false }) // §2.2: and nothing about why
    const { family, issuedAtMs, expiresAtMs } = found
    return c.json({
      active: true,
      iss: issuer,
      sub: family.subject,
      username: family.subject,
      client_id: family.clientId,
      scope: family.scope,
      sid: family.sid,
      iat: Math.floor(issuedAtMs / 1000),
      exp: Math.floor(expiresAtMs / 1000),
    })
  })
}
