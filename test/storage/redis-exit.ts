// A script that signs in, makes one call and closes its Redis client; prints how long it then took to end.
import { createSession } from '../../src/index.ts'
import { redisStorage } from '../../src/redis.ts'
import { clients } from './redis-clients.ts'

const [name = '', port = ''] = process.argv.slice(2)
const { client, close } = await clients[name as keyof typeof clients](Number(port))
const session = createSession({
  resources: 'https://api.example.com',
  storage: redisStorage(client),
  grant: async () => ({ access_token: 'renewed', expires_in: 3600 }),
  fetch: async () => new Response('ok'),
})
await session.adopt({ access_token: 'at-hand', expires_in: 3600 })
await session.fetch('https://api.example.com/me')
// The subscriber is up and stays: nothing was disposed.
await new Promise(resolve => setTimeout(resolve, 200))
close()
const closed = performance.now()
process.on('exit', () => console.log(performance.now() - closed))
