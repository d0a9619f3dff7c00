// A child process: one session on a shared storage, driven by messages of its parent.
import {
  clientCredentials,
  createSession,
  type GrantContext,
  isSessionError,
  type TokenResponse,
  type TokenSet,
  type TokenStorage,
} from '../../src/index.ts'
import { fileStorage } from '../../src/node.ts'
import { redisStorage } from '../../src/redis.ts'
import { clients } from '../storage/redis-clients.ts'

const { origin, file, redis, leaseMs, isHeadless } = JSON.parse(process.argv[2] ?? '{}') as {
  origin: string
  file?: string
  redis?: { port: number; client: keyof typeof clients }
  leaseMs: number
  /** It signs in by itself, by client credentials. */
  isHeadless?: boolean
}
const storage: TokenStorage = redis
  ? redisStorage((await clients[redis.client](redis.port)).client, { leaseMs })
  : fileStorage(file ?? '', { leaseMs })
const session = createSession({
  resources: origin,
  name: 'fleet',
  storage,
  renewal: { minIntervalMs: 0 },
  grant: isHeadless ? clientCredentials({ tokenEndpoint: `${origin}/token`, clientId: 'service' }) : renew,
})

async function renew({ refreshToken = '' }: TokenSet, { fetch, signal }: GrantContext): Promise<TokenResponse> {
  const body = new URLSearchParams({ refresh_token: refreshToken })
  const response = await fetch(`${origin}/token`, { method: 'POST', body, signal })
  if (!response.ok) throw response
  return response.json()
}

async function call(): Promise<number | string> {
  try {
    const response = await session.fetch(`${origin}/api`)
    await response.arrayBuffer()
    return response.status
  } catch (error) {
    return isSessionError(error) ? error.code : String(error)
  }
}

process.on('message', async (message: { id: number; what: 'sign-in' | 'call'; times?: number }) => {
  if (message.what === 'sign-in') {
    await session.adopt(await (await fetch(`${origin}/sign-in`)).json())
    process.send?.({ id: message.id, answers: [] })
  } else {
    process.send?.({ id: message.id, answers: await Promise.all(Array.from({ length: message.times ?? 1 }, call)) })
  }
})
process.on('disconnect', () => process.exit())
process.send?.({ id: 0, answers: [] })
