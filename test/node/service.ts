// A service as docs/node.md has it: it serves, calls an API for it, and ends by itself after SIGTERM.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createSession, type TokenStorage } from '../../src/index.ts'
import { fileStorage } from '../../src/node.ts'
import { type NodeRedisLike, redisStorage } from '../../src/redis.ts'
import { clients } from '../storage/redis-clients.ts'

const { origin, file, redis } = JSON.parse(process.argv[2] ?? '{}') as {
  origin: string
  file?: string
  redis?: { port: number; client: keyof typeof clients }
}
let storage: TokenStorage
let letGo = () => undefined as unknown
if (redis) {
  const { client } = await clients[redis.client](redis.port)
  storage = redisStorage(client)
  letGo =
    redis.client === 'node-redis'
      ? () => (client as NodeRedisLike & { unref(): void }).unref()
      : () => (client as unknown as { stream: { unref(): void } }).stream.unref()
} else storage = fileStorage(file ?? '')

const session = createSession({
  resources: origin,
  name: 'service',
  storage,
  renewal: { minIntervalMs: 0 },
  async grant({ refreshToken = '' }, { fetch, signal }) {
    const body = new URLSearchParams({ refresh_token: refreshToken })
    const response = await fetch(`${origin}/token`, { method: 'POST', body, signal })
    if (!response.ok) throw response
    return response.json()
  },
})
if (process.argv[3] === 'sign-in') await session.adopt(await (await fetch(`${origin}/sign-in`)).json())

const server = createServer(async (request, response) => {
  // Renewed behind the answer, as inside the ahead window: nobody who is served waits for it.
  if (request.url === '/behind') void session.renew().catch(() => undefined)
  const status = request.url === '/behind' ? 202 : (await session.fetch(`${origin}/api`)).status
  response.writeHead(status).end()
})
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))

process.once('SIGTERM', () => {
  server.close(() => {
    session.dispose()
    letGo()
  })
  process.disconnect?.()
})
