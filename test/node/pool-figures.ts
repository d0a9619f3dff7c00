// node --expose-gc test/node/pool-figures.ts: what a session of a pool costs in time and memory, what a call on a fresh token costs with each
// shared storage, and that a pool stays bounded. Redis figures need a redis-server.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { memoryStorage, type TokenStorage } from '../../src/index.ts'
import { createSessions, fileStorage } from '../../src/node.ts'
import { redisStorage } from '../../src/redis.ts'
import { clients } from '../storage/redis-clients.ts'
import { hasRedis, startRedis } from '../storage/redis-server.ts'

const live = 100_000
const url = 'https://api.example.com/me'
const { gc } = globalThis
if (!gc) throw new Error('Run it by: node --expose-gc test/node/pool-figures.ts')
const answer = new Response('ok')
const createPool = (storage: TokenStorage, max = live) =>
  createSessions({
    resources: 'https://api.example.com',
    storage,
    max,
    grant: async () => ({ access_token: 'renewed', refresh_token: 'r', expires_in: 3600 }),
    fetch: async () => answer,
  })
const heap = async () => {
  // Twice, with a turn between: finalizers run there.
  for (let count = 0; count < 3; count++) {
    gc()
    await new Promise(resolve => setImmediate(resolve))
  }
  return process.memoryUsage().heapUsed
}
const print = (name: string, value: number, unit: string) =>
  console.log(`${name.padEnd(64)} ${value.toFixed(2)} ${unit}`)

/** Microseconds of this thread on a CPU: what others do on this machine does not count. */
const cpuUs = () => {
  const { user, system } = process.threadCpuUsage()
  return user + system
}
const middle = (rounds: number[]) => rounds.sort((a, b) => a - b)[rounds.length >> 1] ?? Number.NaN

/** The middle of several rounds, per step. */
function timed(steps: number, run: (index: number) => void): number {
  const rounds = Array.from({ length: 7 }, (_, round) => {
    const began = cpuUs()
    for (let index = 0; index < steps; index++) run(round * steps + index)
    return (cpuUs() - began) / steps
  })
  return middle(rounds)
}

/** A signed-in record of a user, as a sign-in would have left it. */
const record = (user: string) =>
  JSON.stringify({
    v: 1,
    id: user.padStart(32, '0'),
    generation: 1,
    grant: 'custom',
    tokens: {
      accessToken: `a-${user}`,
      refreshToken: `r-${user}`,
      tokenType: 'Bearer',
      expiresAtMs: Date.now() + 3_600_000,
    },
    savedAtMs: Date.now(),
  })

{
  const sessions = createPool(memoryStorage(), 1000)
  const started = createPool(memoryStorage(), 1000)
  const calling = createPool(memoryStorage(), 1000)
  print(
    'a session made by for()',
    timed(20_000, index => sessions.for(`made-${index}`)),
    'µs',
  )
  print(
    'a session made and started: its record is looked for',
    timed(5000, index => started.for(`started-${index}`).state),
    'µs',
  )
  const store = memoryStorage()
  for (let index = 0; index < 35_000; index++) store.setItem(`latchkey:user-${index}`, record(String(index)))
  const signedIn = createPool(store, 1000)
  let failed = 0
  print(
    'a session made for one request on a fresh token',
    timed(
      5000,
      index =>
        void signedIn
          .for(`user-${index}`)
          .fetch(url)
          .catch(() => failed++),
    ),
    'µs',
  )
  await new Promise(resolve => setTimeout(resolve, 50))
  if (failed) throw new Error(`${failed} of those requests failed.`)
  const same = calling.for('same')
  print(
    'for() of a user at hand',
    timed(100_000, () => void calling.for('same')),
    'µs',
  )
  void same
}
{
  const before = await heap()
  const sessions = createPool(memoryStorage())
  for (let index = 0; index < live; index++) sessions.for(`user-${index}`)
  print(`memory per session made, ${live} of them`, ((await heap()) - before) / live, 'B')
  sessions.dispose()
}
{
  const storage = memoryStorage()
  for (let index = 0; index < live; index++) storage.setItem(`latchkey:user-${index}`, record(String(index)))
  const before = await heap()
  const sessions = createPool(storage)
  for (let index = 0; index < live; index++) void sessions.for(`user-${index}`).state
  print(`memory per session that is signed in, ${live} of them`, ((await heap()) - before) / live, 'B')
  for (let index = 0; index < live; index++) await sessions.for(`user-${index}`).fetch(url)
  print('the same after a request of each', ((await heap()) - before) / live, 'B')
  sessions.dispose()
}
{
  const storage = memoryStorage()
  const sessions = createPool({ ...storage, scope: 'shared', setItem: () => undefined, replaceItem: () => true }, 1000)
  for (let index = 0; index < 2000; index++) void sessions.for(`user-${index}`).state
  const before = await heap()
  for (let index = 2000; index < live; index++) void sessions.for(`user-${index}`).state
  print(`growth of a pool of 1,000 while ${live} users came by, each`, ((await heap()) - before) / live, 'B')
  sessions.dispose()
}

async function perCall(name: string, storage: TokenStorage): Promise<void> {
  const sessions = createPool(storage)
  const session = sessions.for('caller')
  await session.adopt({ access_token: 'fresh', refresh_token: 'r', expires_in: 3600 })
  await session.fetch(url)
  const calls = 20_000
  const rounds: number[] = []
  for (let round = 0; round < 7; round++) {
    const began = cpuUs()
    for (let count = 0; count < calls; count++) await session.fetch(url)
    rounds.push((cpuUs() - began) / calls)
  }
  print(`a call on a fresh token with ${name}`, middle(rounds), 'µs')
  sessions.dispose()
}
{
  const raw = async () => answer
  const began = cpuUs()
  for (let count = 0; count < 140_000; count++) await raw()
  print('a call of the fetch below', (cpuUs() - began) / 140_000, 'µs')
}
await perCall('memoryStorage', memoryStorage())
const folder = mkdtempSync(join(tmpdir(), 'latchkey-'))
await perCall('fileStorage', fileStorage(join(folder, 'credentials')))
rmSync(folder, { recursive: true })
if (hasRedis) {
  const redis = await startRedis()
  for (const name of ['node-redis', 'ioredis'] as const) {
    const { client, close } = await clients[name](redis.port)
    await redis.admin.flushall()
    const commands = async () => Number(/total_commands_processed:(\d+)/.exec(await redis.admin.info('stats'))?.[1])
    const storage = redisStorage(client)
    await storage.lock?.request('warm', {}, async () => undefined)
    await perCall(`redisStorage on ${name}`, storage)
    const [before] = [await commands()]
    const session = createPool(storage).for('caller')
    for (let count = 0; count < 1000; count++) await session.fetch(url)
    // The session's own first read and its subscription, and the question itself.
    print(`Redis commands of a new session and 1,000 calls, ${name}`, (await commands()) - before - 1, '')
    close()
  }
  await redis.close()
}
