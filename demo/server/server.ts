import type { Server } from 'node:http'
import { createAdaptorServer } from '@hono/node-server'
import { accessTokenIssuer } from './access-tokens.ts'
import { activityLog } from './activity.ts'
import { createApp } from './app.ts'
import { clientStore } from './clients.ts'
import { openDatabase } from './database.ts'
import type { Clock } from './environment.ts'
import { type Faults, faultInjection } from './faults.ts'
import { listen } from './listen.ts'
import { nobody } from './passwords.ts'
import { refreshTokenStore } from './refresh-tokens.ts'
import { randomSecret } from './secrets.ts'
import { demoUser, seedDemo } from './seed.ts'
import { signingKey } from './signing-keys.ts'
import { newStatistics, type Statistics } from './statistics.ts'
import { userStore } from './users.ts'

export interface ServerOptions {
  /** One that is taken falls back to a free one. @default 0, a free one */
  port?: number
  /** @default '127.0.0.1' */
  host?: string
  /** The file of the database. @default ':memory:', which ends with the server */
  database?: string
  /** The origins whose pages may call, like `http://localhost:5173`. @default [], only pages of the server itself */
  allowedOrigins?: readonly string[]
  /** In whole seconds, at least one. @default 300_000 */
  accessTokenTtlMs?: number
  /** Counts anew with each rotation. @default 86_400_000 */
  refreshTokenTtlMs?: number
  /** When a refresh hands out a new refresh token: at once, or only in the last quarter of its life. @default 'always' */
  rotation?: 'always' | 'near-expiry'
  /** How long a spent refresh token still gets a successor. @default 0, single use */
  reuseWindowMs?: number
  /** The administrator's key. @default a random one, see `DemoServer.adminKey` */
  adminKey?: string
  /** Creates the user alice and the public client `demo`. @default false */
  seed?: boolean
  /** Epoch milliseconds. @default Date.now */
  clock?: Clock
  /** Believes the last address of X-Forwarded-For: for a server behind a proxy that sets it. @default false */
  trustProxy?: boolean
  /** Between the comments that keep /activity/stream open. @default 15_000 */
  heartbeatMs?: number
}

export interface DemoServer {
  readonly origin: string
  readonly adminKey: string
  /** There with `seed`. */
  readonly demoUser?: { username: string; password: string }
  readonly faults: Faults
  /** A copy, as of now. */
  stats(): Statistics
  /** Ends all connections, and closes the database. Repeatable. */
  close(): Promise<void>
}

/** The composition root: opens the database, puts the parts together, listens. */
export async function createServer(options: ServerOptions = {}): Promise<DemoServer> {
  const { port = 0, host = '127.0.0.1', adminKey = randomSecret('lka'), seed = false, clock = Date.now } = options
  const { allowedOrigins = [], trustProxy = false, heartbeatMs = 15_000 } = options
  const database = openDatabase(options.database ?? ':memory:')
  const key = await signingKey(database, clock())
  const clients = clientStore(database, clock)
  const users = userStore(database)
  if (seed) await seedDemo(users, clients)
  await nobody()

  // The issuer is the origin, which is known once the server listens; whoever calls before that waits for the app.
  let ready: (app: ReturnType<typeof createApp>) => void = () => {}
  const app = new Promise<ReturnType<typeof createApp>>(resolve => {
    ready = resolve
  })
  const server = createAdaptorServer({ fetch: async (request, env) => (await app).fetch(request, env) }) as Server
  const issuer = await listen(server, port, host)

  const injection = faultInjection()
  const statistics = newStatistics()
  const stopping = new AbortController()
  const refreshTokens = refreshTokenStore(database, clock, {
    ttlMs: options.refreshTokenTtlMs ?? 86_400_000,
    rotation: options.rotation ?? 'always',
    reuseWindowMs: options.reuseWindowMs ?? 0,
  })
  const accessTokens = accessTokenIssuer(key, refreshTokens, clock, {
    issuer,
    ttlMs: options.accessTokenTtlMs ?? 300_000,
    faults: injection,
  })
  const activity = activityLog(database, clock)
  const services = { clock, issuer, clients, users, refreshTokens, accessTokens, activity, statistics }
  const streams = { heartbeatMs, signal: stopping.signal }
  ready(createApp({ services, database, key, faults: injection, adminKey, allowedOrigins, trustProxy, streams }))

  let closed: Promise<void> | undefined
  return {
    origin: issuer,
    adminKey,
    ...(seed && { demoUser }),
    faults: injection.faults,
    stats: () => ({ ...statistics }),
    close: () => {
      closed ??= new Promise(resolve => {
        stopping.abort()
        injection.stop()
        server.close(() => {
          database.close()
          resolve()
        })
        server.closeAllConnections()
      })
      return closed
    },
  }
}
