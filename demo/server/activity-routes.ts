import { type Context, Hono } from 'hono'
import { type SSEStreamingApi, streamSSE } from 'hono/streaming'
import type { AccessTokenClaims } from './access-tokens.ts'
import type { ActivityEntry } from './activity.ts'
import { authenticateBearer } from './bearer.ts'
import type { Env } from './environment.ts'
import { apiError } from './errors.ts'
import type { Services } from './services.ts'

export interface StreamOptions {
  heartbeatMs: number
  /** Ends all streams. */
  signal: AbortSignal
}

/** GET /activity, the owner's newest entries, and GET /activity/stream, each as it happens. */
export function activityRoutes(services: Services, options: StreamOptions): Hono<Env> {
  const routes = new Hono<Env>()

  routes.get('/', async c => {
    const { sub } = await authenticateBearer(c, services, 'activity')
    return c.json({ entries: services.activity.newest(sub, limitOf(c)) })
  })

  routes.get('/stream', async c => {
    const claims = await authenticateBearer(c, services, 'activity')
    const lastEventId = idOf(c)
    const response = streamSSE(c, stream => follow(stream, { services, claims, lastEventId, options }))
    c.header('X-Accel-Buffering', 'no') // nginx would keep the events to itself
    return response
  })

  return routes
}

/** Writes until the reader leaves, the server stops, or the token is worth no more than an expired one. */
async function follow(
  stream: SSEStreamingApi,
  {
    services: { activity, refreshTokens, statistics, clock },
    claims,
    lastEventId,
    options,
  }: { services: Services; claims: AccessTokenClaims; lastEventId: number | undefined; options: StreamOptions },
): Promise<void> {
  let stop = () => {}
  const end = new Promise<void>(resolve => {
    stop = resolve
  })
  const endWithToken = () => {
    if (clock() >= claims.exp * 1000 || !refreshTokens.isLive(claims.sid)) stop()
  }
  // One after the other: writeSSE awaits before it writes, and would be overtaken by a comment or by the end.
  let written: Promise<unknown> = Promise.resolve()
  const enqueue = (write: () => Promise<unknown>) => {
    written = written.then(write)
  }
  const write = (entry: ActivityEntry) => {
    enqueue(() => stream.writeSSE({ id: String(entry.id), event: entry.kind, data: JSON.stringify(entry) }))
    endWithToken()
  }
  stream.onAbort(() => stop())
  options.signal.addEventListener('abort', () => stop(), { once: true })
  statistics.streams += 1
  // No await between the two: nothing happens unseen after the replay and before the first listening.
  if (lastEventId !== undefined) for (const entry of activity.after(claims.sub, lastEventId)) write(entry)
  const off = activity.listen(claims.sub, write)
  enqueue(() => stream.write(': connected\n\n'))
  const heartbeat = setInterval(() => {
    enqueue(() => stream.write(': heartbeat\n\n'))
    endWithToken()
  }, options.heartbeatMs)

  await end
  clearInterval(heartbeat)
  off()
  statistics.streams -= 1
  await written
}

function limitOf(c: Context): number {
  const limit = c.req.query('limit') ?? '50'
  if (/^\d{1,3}$/.test(limit) && Number(limit) >= 1 && Number(limit) <= 100) return Number(limit)
  throw apiError(400, 'invalid_request', 'limit has to be a number from 1 to 100.')
}

function idOf(c: Context): number | undefined {
  const id = c.req.header('last-event-id')
  if (id === undefined || /^\d{1,15}$/.test(id)) return id === undefined ? undefined : Number(id)
  throw apiError(400, 'invalid_request', 'Last-Event-ID has to be the id of an entry.')
}
