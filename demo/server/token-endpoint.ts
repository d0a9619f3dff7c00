import { type Context, Hono } from 'hono'
import { authenticateClient } from './client-authentication.ts'
import type { Client } from './clients.ts'
import type { Env } from './environment.ts'
import { oauthError } from './errors.ts'
import { renew } from './renewal.ts'
import { readForm, required } from './request-body.ts'
import { grantedScope, scopeWords } from './scopes.ts'
import type { Services } from './services.ts'
import { tokenResponse } from './token-response.ts'

type Grant = (call: { c: Context<Env>; client: Client; form: ReadonlyMap<string, string> }) => Promise<object>

/** POST /token (RFC 6749 §3.2). */
export function tokenEndpoint(services: Services): Hono<Env> {
  const grants = new Map<string, Grant>([
    ['password', passwordGrant(services)],
    ['client_credentials', clientCredentialsGrant(services)],
    ['refresh_token', refreshTokenGrant(services)],
  ])

  return new Hono<Env>().post('/', async c => {
    const form = await readForm(c)
    const client = await authenticateClient(c, form, services)
    const grant = grants.get(required(form, 'grant_type'))
    if (!grant) {
      throw oauthError('unsupported_grant_type', `The grant_type is none of: ${[...grants.keys()].join(', ')}`)
    }
    return c.json(await grant({ c, client, form }))
  })
}

/** RFC 6749 §4.3. */
function passwordGrant(services: Services): Grant {
  return async ({ c, client, form }) => {
    const username = required(form, 'username')
    const password = required(form, 'password')
    const scope = grantedScope(form.get('scope'), client.scopes)
    if (!(await services.users.verify(username, password))) {
      throw oauthError('invalid_grant', 'The username or the password is wrong.')
    }
    const family = signIn(services, { client, subject: username, scope, address: c.get('address') })
    return tokenResponse(services.accessTokens, family, { refreshToken: services.refreshTokens.issue(family.sid) })
  }
}

/** RFC 6749 §4.4: no refresh token, the client has all that it needs to come again. */
function clientCredentialsGrant(services: Services): Grant {
  return async ({ c, client, form }) => {
    if (client.secretHash === undefined) {
      throw oauthError('unauthorized_client', 'A public client has no credentials.')
    }
    const scope = grantedScope(form.get('scope'), client.scopes)
    const family = signIn(services, { client, subject: client.id, scope, address: c.get('address') })
    return tokenResponse(services.accessTokens, family, {})
  }
}

/** RFC 6749 §6: the scope may be narrowed for this one access token. A scope that is too wide costs no refresh token. */
function refreshTokenGrant(services: Services): Grant {
  return async ({ c, client, form }) => {
    const refreshToken = required(form, 'refresh_token')
    const family = services.refreshTokens.find(refreshToken)?.family
    const scope = family?.clientId === client.id ? grantedScope(form.get('scope'), scopeWords(family.scope)) : undefined
    const renewed = renew(services, { refreshToken, client, address: c.get('address') })
    if (!renewed || scope === undefined) throw oauthError('invalid_grant', 'The refresh token is not valid any more.')
    return tokenResponse(services.accessTokens, renewed.family, { scope, refreshToken: renewed.refreshToken })
  }
}

function signIn(
  { refreshTokens, activity, statistics }: Services,
  { client, subject, scope, address }: { client: Client; subject: string; scope: string; address: string },
) {
  const family = refreshTokens.start({ clientId: client.id, subject, scope })
  const actor = { owner: subject, clientId: client.id, sid: family.sid, address }
  statistics.signIns += 1
  activity.seen(actor)
  activity.record('sign-in', actor)
  return family
}
