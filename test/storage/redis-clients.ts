// The two clients under test, each alone and as a cluster.
import { Cluster, Redis } from 'ioredis'
import { createClient, createCluster } from 'redis'
import type { RedisStorageOptions } from '../../src/redis.ts'

export interface TestClient {
  readonly client: Parameters<typeof import('../../src/redis.ts').redisStorage>[0]
  close(): void
}

export type { RedisStorageOptions }

export const clients: Record<'node-redis' | 'ioredis', (port: number) => Promise<TestClient>> = {
  async 'node-redis'(port) {
    const client = createClient({ socket: { host: '127.0.0.1', port, reconnectStrategy: () => 30 } })
    client.on('error', () => undefined)
    await client.connect()
    return { client, close: () => client.isOpen && client.destroy() }
  },
  async ioredis(port) {
    const client = new Redis(port, '127.0.0.1', { retryStrategy: () => 30 })
    client.on('error', () => undefined)
    await client.ping()
    return { client, close: () => client.disconnect() }
  },
}

export const clusters: Record<'node-redis' | 'ioredis', (port: number) => Promise<TestClient>> = {
  async 'node-redis'(port) {
    const client = createCluster({ rootNodes: [{ socket: { host: '127.0.0.1', port } }] })
    client.on('error', () => undefined)
    await client.connect()
    return { client, close: () => client.isOpen && client.destroy() }
  },
  async ioredis(port) {
    const client = new Cluster([{ host: '127.0.0.1', port }])
    client.on('error', () => undefined)
    await client.set('warm', '1')
    return { client, close: () => client.disconnect() }
  },
}
