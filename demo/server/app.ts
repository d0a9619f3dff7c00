import type { DatabaseSync } from 'node:sqlite'
import { Hono, type MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { cors } from 'hono/cors'
import { methodNotAllowed } from 'hono/method-not-allowed'
import { secureHeaders } from 'hono/secure-headers'
import { activityRoutes, type StreamOptions } from './activity-routes.ts'
import { clientAddress } from './client-address.ts'
import { clientAdministration } from './client-administration.ts'
import { collect } from './collect.ts'
import { docs } from './docs.ts'
import type { Env } from './environment.ts'
import { answerError, apiError } from './errors.ts'
import type { FaultInjection } from './faults.ts'
import { firstPartyRefresh } from './first-party-refresh.ts'
import { introspection } from './introspection.ts'
import { metadata } from './metadata.ts'
import { revocation } from './revocation.ts'
import type { Services } from './services.ts'
import type { SigningKey } from './signing-keys.ts'
import { tokenEndpoint } from './token-endpoint.ts'

const maxBodyBytes = 64 * 1024

export interface AppParts {
  services: Services
  database: DatabaseSync
  key: SigningKey
  faults: FaultInjection
  adminKey: string
  allowedOrigins: readonly string[]
  trustProxy: boolean
  streams: StreamOptions
}

/** All routes, and what lies before each of them. */
export function createApp(parts: AppParts): Hono<Env> {
  const { services, database, key, faults, adminKey, allowedOrigins, trustProxy, streams } = parts
  const app = new Hono<Env>()
  app.onError(answerError)
  app.notFound(c => c.json({ error: 'not_found', error_description: 'There is nothing here; see /docs.' }, 404))

  // CORS is first, so that errors carry its headers too: a page has to be able to read why it was refused.
  app.use(
    cors({
      origin: [...allowedOrigins],
      allowMethods: ['GET', 'HEAD', 'POST', 'DELETE'],
      allowHeaders: ['Authorization', 'Content-Type', 'X-Api-Key', 'Last-Event-ID'],
      exposeHeaders: ['WWW-Authenticate', 'Retry-After'],
      maxAge: 600,
    }),
  )
  app.use(secureHeaders({ strictTransportSecurity: false })) // this is for whoever adds the TLS to say
  app.use(
    methodNotAllowed({
      app,
      onMethodNotAllowed: (c, methods) => {
        const description = `This takes ${methods.join(', ')}.`
        return c.json({ error: 'method_not_allowed', error_description: description }, 405, {
          Allow: methods.join(', '),
        })
      },
    }),
  )
  app.use(bodyLimit({ maxSize: maxBodyBytes, onError: tooLarge }))
  app.use(clientAddress(trustProxy))

  app.use('/token/*', noStore, countTokenCalls(services), faults.token)
  app.route('/token', tokenEndpoint(services))
  app.route('/token/refresh', firstPartyRefresh(services))
  app.use('/revoke', noStore)
  app.route('/revoke', revocation(services))
  app.use('/introspect', noStore)
  app.route('/introspect', introspection(services))
  app.use('/collect', noStore, faults.collect)
  app.route('/collect', collect(database, services))
  app.use('/activity/*', noStore)
  app.route('/activity', activityRoutes(services, streams))
  app.route('/clients', clientAdministration(services.clients, adminKey))
  app.route('/.well-known', metadata(services.issuer, key))
  app.route('/', docs())
  return app
}

/** RFC 6749 §5.1, and for errors as well: what concerns tokens is for one reader. */
const noStore: MiddlewareHandler<Env> = async (c, next) => {
  c.header('Cache-Control', 'no-store')
  await next()
}

function countTokenCalls({ statistics }: Services): MiddlewareHandler<Env> {
  return async (c, next) => {
    if (c.req.method === 'POST') statistics.tokenCalls += 1
    await next()
  }
}

function tooLarge(): never {
  throw apiError(413, 'payload_too_large', `A body may have ${maxBodyBytes} bytes.`)
}
