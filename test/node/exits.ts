// A script of a CLI or service, as docs/node.md has them: it never ends itself. Says how long it took to end after its last line.
import { clientCredentials, createSession, refreshTokenGrant, type TokenStorage } from '../../src/index.ts'
import { createSessions, fileStorage } from '../../src/node.ts'
import { redisStorage } from '../../src/redis.ts'
import { clients } from '../storage/redis-clients.ts'

const [what = '', origin = '', path = '', port = ''] = process.argv.slice(2)
const resources = origin
const tokenEndpoint = `${origin}/token`
const api = `${origin}/api`
const signIn = async () => (await fetch(`${origin}/sign-in`)).json()
const isRedis = what === 'node-redis' || what === 'ioredis'
const { client, close } = isRedis ? await clients[what](Number(port)) : { client: undefined, close: () => undefined }
const storage: TokenStorage = client ? redisStorage(client) : fileStorage(path)

if (what === 'client-credentials') {
  const session = createSession({ resources, storage, grant: clientCredentials({ tokenEndpoint, clientId: 'script' }) })
  console.log((await session.fetch(api)).status)
} else if (what === 'pool') {
  const sessions = createSessions({
    resources,
    storage,
    grant: refreshTokenGrant({ tokenEndpoint, clientId: 'script' }),
  })
  await sessions.for('alice').adopt(await signIn())
  console.log((await sessions.for('alice').fetch(api)).status)
} else {
  const session = createSession({
    resources,
    storage,
    keepFresh: true,
    renewal: { minIntervalMs: 0 },
    grant: refreshTokenGrant({ tokenEndpoint, clientId: 'script' }),
  })
  await session.adopt(await signIn())
  await session.renew()
  console.log((await session.fetch(api)).status)
}
close()
const began = performance.now()
process.on('exit', () => console.log(Math.round(performance.now() - began)))
