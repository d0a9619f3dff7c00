import { Hono } from 'hono'
import { mayCallFrom } from './client-address.ts'
import type { Env } from './environment.ts'
import { ApiError } from './errors.ts'
import { renew } from './renewal.ts'
import { readJsonObject } from './request-body.ts'
import type { Services } from './services.ts'
import { tokenResponse } from './token-response.ts'

/**
 * POST /token/refresh, for apps of the house: { refresh_token } in, a token response out. Not OAuth, but what many APIs
 * have; the errors are theirs too: { detail }, and a bare 401 for a token that is dead.
 */
export function firstPartyRefresh(services: Services): Hono<Env> {
  return new Hono<Env>().post('/', async c => {
    const { refresh_token: refreshToken } = await readJsonObject(c).catch(withDetail)
    if (typeof refreshToken !== 'string' || refreshToken === '') {
      throw new ApiError(400, { detail: 'refresh_token has to be a string.' })
    }
    const address = c.get('address')
    const family = services.refreshTokens.find(refreshToken)?.family
    const client = family && services.clients.find(family.clientId)
    if (client?.firstParty && !mayCallFrom(client.addresses, address)) {
      throw new ApiError(403, { detail: 'This client may not call from this address.' })
    }
    const renewed = client?.firstParty ? renew(services, { refreshToken, client, address }) : undefined
    if (!renewed) throw new ApiError(401, { detail: 'The refresh token is not valid any more.' })
    return c.json(await tokenResponse(services.accessTokens, renewed.family, { refreshToken: renewed.refreshToken }))
  })
}

function withDetail(error: unknown): never {
  if (error instanceof ApiError) throw new ApiError(error.status, { detail: error.body.error_description })
  throw error
}
