import { Redis } from 'ioredis'
import { fileStorage } from 'latchkey/node'
import { redisStorage } from 'latchkey/redis'
import { createClient } from 'redis'

/** Where the fleet keeps its one record. */
export type Place = { readonly redisPort: number } | { readonly file: string }

/** All that a service writes to share a session with its replicas; even workers use one client, odd ones the other. */
export async function openStorage(place: Place, index: number) {
  // A killed holder is passed over after a second.
  const leaseMs = 1000
  if ('file' in place) return fileStorage(place.file, { leaseMs })
  if (index % 2) return redisStorage(new Redis(place.redisPort, '127.0.0.1'), { leaseMs })
  const client = createClient({ socket: { host: '127.0.0.1', port: place.redisPort } })
  client.on('error', error => console.error(`Redis: ${error.message}`))
  return redisStorage(await client.connect(), { leaseMs })
}
