import { Hono } from 'hono'
import type { Env } from './environment.ts'
import { knownScopes } from './scopes.ts'
import type { SigningKey } from './signing-keys.ts'

const clientAuthentication = ['client_secret_basic', 'client_secret_post']

/** /.well-known: what a client can find out by itself, the metadata of RFC 8414 and the keys. */
export function metadata(issuer: string, key: SigningKey): Hono<Env> {
  const routes = new Hono<Env>()
  routes.get('/oauth-authorization-server', c =>
    c.json({
      issuer,
      token_endpoint: `${issuer}/token`,
      token_endpoint_auth_methods_supported: [...clientAuthentication, 'none'],
      revocation_endpoint: `${issuer}/revoke`,
      revocation_endpoint_auth_methods_supported: [...clientAuthentication, 'none'],
      introspection_endpoint: `${issuer}/introspect`,
      introspection_endpoint_auth_methods_supported: clientAuthentication,
      jwks_uri: `${issuer}/.well-known/jwks.json`,
      grant_types_supported: ['password', 'client_credentials', 'refresh_token'],
      response_types_supported: [], // REQUIRED by §2; there is no authorization endpoint
      scopes_supported: knownScopes,
      service_documentation: `${issuer}/docs`,
    }),
  )
  routes.get('/jwks.json', c => {
    c.header('Cache-Control', 'public, max-age=300')
    return c.json(key.jwks)
  })
  return routes
}
