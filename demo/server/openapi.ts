import {
  answer,
  bearer,
  clientFields,
  clientSecurity,
  errors,
  form,
  type Json,
  json,
  operation,
  pathParameter,
  ref,
  text,
} from './openapi-parts.ts'
import { schemas, securitySchemes } from './openapi-schemas.ts'

const tokens: Json = {
  '/token': {
    post: operation('tokens', 'Obtain or refresh tokens (RFC 6749)', {
      security: clientSecurity,
      requestBody: form(
        {
          grant_type: { type: 'string', enum: ['password', 'client_credentials', 'refresh_token'] },
          username: text,
          password: { type: 'string', format: 'password' },
          refresh_token: text,
          scope: text,
          ...clientFields,
        },
        ['grant_type'],
      ),
      responses: { 200: answer('A token response', 'TokenResponse'), ...errors(400, 401, 403) },
    }),
  },
  '/token/refresh': {
    post: operation('tokens', 'Refresh tokens, for first-party apps', {
      security: [],
      requestBody: json({ type: 'object', properties: { refresh_token: text }, required: ['refresh_token'] }),
      responses: {
        200: answer('A token response', 'TokenResponse'),
        401: answer('The refresh token is dead', 'Detail'),
        '4XX': answer('The request is wrong', 'Detail'),
      },
    }),
  },
  '/revoke': {
    post: operation('tokens', 'End a session by either of its tokens (RFC 7009)', {
      security: clientSecurity,
      requestBody: form({ token: text, token_type_hint: text, ...clientFields }, ['token']),
      responses: { 200: { description: 'The token is dead, or always was' }, ...errors(400, 401, 403) },
    }),
  },
  '/introspect': {
    post: operation('tokens', 'Ask what a token is worth (RFC 7662); needs a client with a secret', {
      security: clientSecurity,
      requestBody: form({ token: text, token_type_hint: text, ...clientFields }, ['token']),
      responses: { 200: answer('What the token is worth', 'Introspection'), ...errors(400, 401, 403) },
    }),
  },
}

const resource: Json = {
  '/collect': {
    get: operation('resource', 'The newest items that you sent', {
      security: [...bearer('collect'), { apiKey: [] }],
      responses: { 200: answer('Up to 20 items, newest first', 'Items'), ...errors(400, 401, 403) },
    }),
    post: operation('resource', 'Send an item: any JSON', {
      security: [...bearer('collect'), { apiKey: [] }],
      requestBody: json({ example: { temperature: 21.5 } }),
      responses: { 201: answer('It was collected', 'Collected'), ...errors(400, 401, 403, 413, 415) },
    }),
  },
}

const activity: Json = {
  '/activity': {
    get: operation('activity', 'What happened to your sessions, newest first', {
      security: bearer('activity'),
      parameters: [{ name: 'limit', in: 'query', schema: { type: 'integer', minimum: 1, maximum: 100, default: 50 } }],
      responses: { 200: answer('The entries', 'Activity'), ...errors(400, 401, 403) },
    }),
  },
  '/activity/stream': {
    get: operation('activity', 'The same as it happens: server-sent events, which end with the access token', {
      security: bearer('activity'),
      parameters: [{ name: 'Last-Event-ID', in: 'header', schema: { type: 'integer' } }],
      responses: {
        200: { description: 'Events named by their kind', content: { 'text/event-stream': { schema: text } } },
        ...errors(400, 401, 403),
      },
    }),
  },
}

const clientId = pathParameter('id')
const administration: Json = {
  '/clients': {
    post: operation('administration', 'Create a client', {
      security: [{ administratorKey: [] }],
      requestBody: json(ref('NewClient')),
      responses: {
        201: answer('The client, and the only time its secret is shown', 'Client'),
        ...errors(400, 401, 415),
      },
    }),
  },
  '/clients/{id}/keys': {
    post: operation('administration', 'Issue a further API key', {
      security: [{ administratorKey: [] }],
      parameters: [clientId],
      responses: { 201: answer('The only time the key is shown', 'ApiKey'), ...errors(401, 404) },
    }),
  },
  '/clients/{id}/keys/{keyId}': {
    delete: operation('administration', 'Revoke an API key', {
      security: [{ administratorKey: [] }],
      parameters: [clientId, pathParameter('keyId')],
      responses: { 204: { description: 'It is revoked' }, ...errors(401, 404) },
    }),
  },
}

const discovery: Json = {
  '/.well-known/oauth-authorization-server': {
    get: operation('discovery', 'Metadata of the authorization server (RFC 8414)', {
      security: [],
      responses: { 200: { description: 'The metadata' } },
    }),
  },
  '/.well-known/jwks.json': {
    get: operation('discovery', 'The keys that access tokens are signed with (RFC 7517)', {
      security: [],
      responses: { 200: { description: 'The public keys' } },
    }),
  },
}

/** What GET /openapi.json says. Addresses in it are relative, so it holds under whatever name the server is reached. */
export function openapi(): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Demo API',
      version: '1.0.0',
      description:
        'A protected resource and its authorization server. Sign in with Authorize (client `demo`, no secret), then try /collect.',
    },
    servers: [{ url: '/' }],
    tags: ['tokens', 'resource', 'activity', 'administration', 'discovery'].map(name => ({ name })),
    paths: { ...tokens, ...resource, ...activity, ...administration, ...discovery },
    components: { securitySchemes, schemas },
  }
}
