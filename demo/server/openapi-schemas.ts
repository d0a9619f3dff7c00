import { type Json, text } from './openapi-parts.ts'
import { knownScopes } from './scopes.ts'

const scopes = { collect: 'Read and send items', activity: 'See what happens to your sessions' }
const instant = { type: 'string', format: 'date-time' }
const integer = { type: 'integer' }
const scopeList = { type: 'array', items: { enum: knownScopes }, minItems: 1, example: ['collect'] }
const addresses = { type: 'array', items: text, example: ['127.0.0.1', '10.0.0.0/8'] }

export const securitySchemes: Json = {
  user: { type: 'oauth2', flows: { password: { tokenUrl: '/token', refreshUrl: '/token', scopes } } },
  service: { type: 'oauth2', flows: { clientCredentials: { tokenUrl: '/token', scopes } } },
  client: { type: 'http', scheme: 'basic', description: 'client_id and client_secret' },
  apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key', description: 'An API key of a client' },
  administratorKey: { type: 'apiKey', in: 'header', name: 'x-api-key', description: "The administrator's key" },
}

export const schemas: Json = {
  Error: object({ error: text, error_description: text }, ['error']),
  Detail: object({ detail: text }),
  TokenResponse: object(
    { access_token: text, token_type: { const: 'Bearer' }, expires_in: integer, refresh_token: text, scope: text },
    ['access_token', 'token_type', 'expires_in', 'scope'],
  ),
  Introspection: object(
    { active: { type: 'boolean' }, sub: text, client_id: text, scope: text, sid: text, iat: integer, exp: integer },
    ['active'],
  ),
  Items: object({ owner: text, items: list(object({ id: integer, at: instant, item: {} })) }),
  Collected: object({ owner: text, id: integer }),
  Activity: object({ entries: list({ $ref: '#/components/schemas/ActivityEntry' }) }),
  ActivityEntry: object(
    {
      id: integer,
      kind: { enum: ['sign-in', 'renewal', 'new-address', 'reuse', 'revoked'] },
      at: instant,
      client_id: text,
      sid: text,
      address: text,
    },
    ['id', 'kind', 'at', 'client_id', 'address'],
  ),
  NewClient: object({ name: text, scopes: scopeList, addresses, public: { type: 'boolean', default: false } }, [
    'name',
    'scopes',
  ]),
  Client: object(
    { client_id: text, client_secret: text, name: text, scopes: scopeList, addresses, public: { type: 'boolean' } },
    ['client_id', 'name', 'scopes', 'addresses', 'public'],
  ),
  ApiKey: object({ key_id: text, api_key: text }),
}

function object(properties: Json, required: string[] = Object.keys(properties)): Json {
  return { type: 'object', properties, required }
}

function list(items: Json): Json {
  return { type: 'array', items }
}
