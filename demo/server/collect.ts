import type { DatabaseSync } from 'node:sqlite'
import { type Context, Hono } from 'hono'
import { authenticateBearer } from './bearer.ts'
import { assertAddress } from './client-authentication.ts'
import type { Env } from './environment.ts'
import { apiError, oauthError } from './errors.ts'
import { readJson } from './request-body.ts'
import type { Services } from './services.ts'

const scope = 'collect'
const shown = 20

type Row = { id: number; at_ms: number; item: string }

/** GET and POST /collect, the protected resource: takes JSON, and shows the newest of what its owner sent. */
export function collect(database: DatabaseSync, services: Services): Hono<Env> {
  const insert = database.prepare('INSERT INTO collected (owner, at_ms, item) VALUES (?, ?, ?) RETURNING id')
  const newest = database.prepare(`SELECT * FROM collected WHERE owner = ? ORDER BY id DESC LIMIT ${shown}`)
  const routes = new Hono<Env>()

  routes.get('/', async c => {
    const owner = await authenticate(c, services)
    const items = (newest.all(owner) as Row[]).map(({ id, at_ms, item }) => ({
      id,
      at: new Date(at_ms).toISOString(),
      item: JSON.parse(item),
    }))
    services.statistics.collects += 1
    return c.json({ owner, items })
  })

  routes.post('/', async c => {
    const owner = await authenticate(c, services)
    const item = await readJson(c)
    const { id } = insert.get(owner, services.clock(), JSON.stringify(item)) as Pick<Row, 'id'>
    services.statistics.collects += 1
    return c.json({ owner, id }, 201)
  })

  return routes
}

/** By bearer token or by API key, and never both: whose call would it be? */
async function authenticate(c: Context<Env>, services: Services): Promise<string> {
  const key = c.req.header('x-api-key')
  if (key === undefined) return (await authenticateBearer(c, services, scope)).sub
  if (c.req.header('authorization') !== undefined) {
    throw oauthError('invalid_request', 'Send an access token or an API key, and not both.')
  }
  const client = services.clients.findByKey(key)
  if (!client) {
    throw apiError(401, 'invalid_api_key', 'The API key is unknown or revoked.', {
      'WWW-Authenticate': 'ApiKey realm="demo"',
    })
  }
  assertAddress(c, client)
  if (!client.scopes.includes(scope)) throw apiError(403, 'insufficient_scope', `This needs the scope ${scope}.`)
  services.activity.seen({ owner: client.id, clientId: client.id, address: c.get('address') })
  return client.id
}
