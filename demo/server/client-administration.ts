import { Hono } from 'hono'
import { normalRange } from './client-address.ts'
import type { Clients, NewClient } from './clients.ts'
import type { Env } from './environment.ts'
import { apiError } from './errors.ts'
import { readJsonObject } from './request-body.ts'
import { knownScopes } from './scopes.ts'
import { sameSecret } from './secrets.ts'

/** POST /clients, POST /clients/:id/keys, DELETE /clients/:id/keys/:keyId: for the administrator, by x-api-key. */
export function clientAdministration(clients: Clients, adminKey: string): Hono<Env> {
  const routes = new Hono<Env>()

  routes.use(async (c, next) => {
    if (!sameSecret(c.req.header('x-api-key') ?? '', adminKey)) {
      throw apiError(401, 'invalid_api_key', "This needs the administrator's key in x-api-key.", {
        'WWW-Authenticate': 'ApiKey realm="administration"',
      })
    }
    c.header('Cache-Control', 'no-store')
    await next()
  })

  routes.post('/', async c => {
    const client = newClient(await readJsonObject(c))
    const { id, secret } = await clients.create(client)
    const { firstParty: _, ...shown } = client
    return c.json({ client_id: id, ...(secret && { client_secret: secret }), ...shown }, 201)
  })

  routes.post('/:id/keys', c => {
    const client = clients.find(c.req.param('id'))
    if (!client) throw apiError(404, 'not_found', 'There is no such client.')
    const { id, key } = clients.issueKey(client.id)
    return c.json({ key_id: id, api_key: key }, 201)
  })

  routes.delete('/:id/keys/:keyId', c => {
    if (clients.revokeKey(c.req.param('id'), c.req.param('keyId'))) return c.body(null, 204)
    throw apiError(404, 'not_found', 'There is no such key of this client.')
  })

  return routes
}

function newClient(body: Record<string, unknown>): NewClient {
  const { name, scopes, addresses = [], public: isPublic = false } = body
  if (typeof name !== 'string' || !/^[^\p{Cc}]{1,100}$/u.test(name))
    throw invalid('name has to be 1 to 100 characters.')
  if (!isStrings(scopes) || scopes.length === 0 || scopes.some(scope => !knownScopes.includes(scope))) {
    throw invalid(`scopes has to be a list of: ${knownScopes.join(', ')}.`)
  }
  if (!isStrings(addresses) || addresses.length > 100)
    throw invalid('addresses has to be a list of at most 100 strings.')
  if (typeof isPublic !== 'boolean') throw invalid('public has to be true or false.')
  return { name, scopes: [...new Set(scopes)], addresses: addresses.map(range), public: isPublic, firstParty: false }
}

function range(text: string): string {
  const normal = normalRange(text)
  if (normal === undefined)
    throw invalid('addresses holds something that is neither an IP address nor a range of them.')
  return normal
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(item => typeof item === 'string')
}

function invalid(description: string) {
  return apiError(400, 'invalid_request', description)
}
