import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createSession, type Grip } from '../../src/index.ts'
import { redisStorage } from '../../src/redis.ts'
import { secret } from '../support/no-leaks.ts'
import { clients, type RedisStorageOptions, type TestClient } from './redis-clients.ts'
import { hasRedis, type RedisServer, startRedis } from './redis-server.ts'

const key = 'latchkey:a'
const url = 'https://api.example.com/me'

describe('redisStorage', () => {
  const anything = { eval: () => undefined } as never
  it.each([
    ['nothing', () => redisStorage(undefined as never)],
    ['a lease of nothing', () => redisStorage(anything, { leaseMs: 0 })],
    ['a life that is no number', () => redisStorage(anything, { ttlMs: Number.NaN })],
    ['another word for whenDown', () => redisStorage(anything, { whenDown: 'wait' as never })],
  ])('refuses %s at once', (_what, make) => {
    expect(make).toThrowError(expect.objectContaining({ code: 'misconfigured' }))
  })
})

it.each([
  ['node-redis', 'evalSha'],
  ['ioredis', 'evalsha'],
])('redisStorage with %s gives up at once what Redis refuses, also the lock', async (_name, method) => {
  let sent = 0
  const refuse = async () => {
    sent++
    throw new Error('NOPERM this user has no permissions to run it')
  }
  const client = { eval: refuse, [method]: refuse, duplicate: () => undefined, on: () => undefined, status: 'ready' }
  const storage = redisStorage(client as never)
  await expect(storage.getItem(key)).rejects.toThrow('NOPERM')
  let ran = false
  const asked = storage.lock?.request(key, {}, async () => {
    ran = true
  })
  await expect(asked).rejects.toThrow('NOPERM')
  expect(ran).toBe(false)
  // The read, the lock, and the release of a lock that may have been had.
  expect(sent).toBe(3)
})

describe.skipIf(!hasRedis).each(['node-redis', 'ioredis'] as const)('redisStorage with %s in trouble', name => {
  let server: RedisServer
  let open: TestClient[] = []
  beforeAll(async () => {
    server = await startRedis()
  })
  beforeEach(() => server.admin.flushall())
  afterEach(() => {
    for (const { close } of open) close()
    open = []
  })
  afterAll(() => server?.close())

  async function make(options: RedisStorageOptions = {}) {
    const client = await clients[name](server.port)
    open.push(client)
    const storage = redisStorage(client.client, options)
    if (!storage.lock || !storage.replaceItem || !storage.watch) throw new Error('It has all of these.')
    return Object.assign(storage, { lock: storage.lock, replaceItem: storage.replaceItem, watch: storage.watch })
  }
  const keys = async (pattern = '*') => (await server.admin.keys(pattern)).sort()
  async function freeze<T>(run: () => Promise<T>): Promise<T> {
    server.process.kill('SIGSTOP')
    try {
      return await run()
    } finally {
      server.process.kill('SIGCONT')
    }
  }

  /** A session whose token is dead at once: each call renews. */
  async function makeSession(options: RedisStorageOptions = {}) {
    const events: unknown[] = []
    const calls = { token: 0 }
    const storage = await make(options)
    const session = createSession({
      resources: url,
      name: 'a',
      storage,
      renewal: { minIntervalMs: 0, storageTimeoutMs: 2500, lockTimeoutMs: 2500 },
      grant: async ({ refreshToken = '' }) => ({
        access_token: secret(`access-${++calls.token}`),
        refresh_token: refreshToken,
        expires_in: 0,
      }),
      fetch: async () => new Response('ok'),
    })
    session.on('degraded', ({ what }) => events.push(what))
    await session.adopt({ access_token: secret('first'), refresh_token: secret('refresh'), expires_in: 0 })
    return { session, events, calls, storage }
  }

  it('tells a holder that its lock was lost, and its release leaves the lock of another alone', async () => {
    const storage = await make({ leaseMs: 150 })
    await storage.lock.request(key, {}, async (grip: Grip) => {
      const [lock = ''] = await keys('*:lock')
      await server.admin.set(lock, 'another', 'PX', 60_000)
      await new Promise(resolve => grip.lost?.addEventListener('abort', resolve))
    })
    const [lock = ''] = await keys('*:lock')
    expect(await server.admin.get(lock)).toBe('another')
  })

  it('renews the lease of a slow holder', async () => {
    const [one, two] = [await make({ leaseMs: 150 }), await make({ leaseMs: 150 })]
    const log: string[] = []
    let second: Promise<unknown> | undefined
    await one.lock.request(key, {}, async (grip: Grip) => {
      second = two.lock.request(key, {}, async () => void log.push('second'))
      await new Promise(resolve => setTimeout(resolve, 600))
      expect(grip.lost?.aborted).toBe(false)
      log.push('first')
    })
    await second
    expect(log).toEqual(['first', 'second'])
  })

  it('tells a holder that Redis could not be reached for a whole lease', async () => {
    const storage = await make({ leaseMs: 200 })
    await storage.lock.request(key, {}, (grip: Grip) =>
      freeze(() => new Promise(resolve => grip.lost?.addEventListener('abort', () => resolve()))),
    )
  })

  it('leaves no lock behind when its command is delivered after who wanted it has left', async () => {
    const storage = await make()
    await storage.setItem(key, 'text')
    const leave = new AbortController()
    let ran = false
    const asked = storage.lock.request(key, { signal: leave.signal }, async () => {
      ran = true
    })
    await freeze(async () => {
      leave.abort()
      await expect(asked).rejects.toMatchObject({ name: 'AbortError' })
    })
    // The next in turn has it as soon as the late one is given back.
    await storage.lock.request(key, {}, async () => undefined)
    expect(ran).toBe(false)
    await expect.poll(() => keys('*:lock')).toEqual([])
  })

  it('is patient while Redis is down, until the signal: nobody gets in without the lock', async () => {
    // The restart may have lost somebody's lock: a lease passes before there is another.
    const storage = await make({ leaseMs: 300 })
    await storage.setItem(key, 'text')
    await server.kill()
    const leave = new AbortController()
    let ran = false
    const asked = storage.lock.request(key, { signal: leave.signal }, async () => {
      ran = true
    })
    await new Promise(resolve => setTimeout(resolve, 200))
    leave.abort()
    await expect(asked).rejects.toMatchObject({ name: 'AbortError' })
    expect(ran).toBe(false)
    const waiting = storage.lock.request(key, {}, async () => undefined)
    await server.start()
    await waiting
    await expect.poll(() => keys('*:lock')).toEqual([])
  }, 20_000)

  it('says what Redis refused without what was sent', async () => {
    const storage = await make()
    await storage.setItem(key, 'text')
    const [record = ''] = await keys()
    await server.admin.del(record)
    await server.admin.lpush(record, 'x')
    const error = await Promise.resolve(storage.replaceItem(key, undefined, secret('inside'))).catch(failure => failure)
    expect(String(error.message)).toContain('WRONGTYPE')
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('inside')
  })

  it.each([
    ['down', () => server.kill(), () => server.start()],
    ['frozen', () => server.process.kill('SIGSTOP'), () => server.process.kill('SIGCONT')],
  ])(
    'with Redis %s rejects a call that needs a new token within the bound, and recovers by itself',
    async (_what, stop, start) => {
      const { session, calls, storage } = await makeSession({ leaseMs: 300 })
      await session.fetch(url)
      const before = calls.token
      await stop()
      const began = performance.now()
      const error = await session.fetch(url).catch(failure => failure)
      expect(error).toMatchObject({ retryable: true })
      expect(['storage_unavailable', 'lock_timeout']).toContain(error.code)
      expect(performance.now() - began).toBeLessThan(8000)
      expect(calls.token).toBe(before)
      await start()
      await expect.poll(() => session.fetch(url).then(({ status }) => status, String), { timeout: 10_000 }).toBe(200)
      expect(await storage.getItem(key)).toContain(`access-${calls.token}`)
      expect(session.state.status).toBe('signed-in')
      session.dispose()
    },
    40_000,
  )

  it('with whenDown memory goes on without Redis, says so, and writes back what it renewed meanwhile', async () => {
    const { session, events, calls, storage } = await makeSession({ whenDown: 'memory' })
    await session.fetch(url)
    await server.kill()
    expect((await session.fetch(url)).status).toBe(200)
    expect((await session.fetch(url)).status).toBe(200)
    // The last two: on a machine under load Redis may have seemed to be down before.
    expect(events.slice(-2)).toEqual(['storage', 'lock'])
    const renewed = calls.token
    expect(renewed).toBe(3)
    await server.start()
    const stored = async () => {
      const [record = ''] = (await keys()).filter(found => !found.endsWith(':lock'))
      return String(await server.admin.get(record))
    }
    await expect.poll(stored, { timeout: 10_000 }).toContain(`access-${renewed}`)
    await expect.poll(async () => (await storage.getItem(key))?.includes(`access-${renewed}`)).toBe(true)
    session.dispose()
  }, 30_000)

  it('with whenDown memory never writes back over what somebody else wrote', async () => {
    const storage = await make({ whenDown: 'memory' })
    await storage.setItem(key, 'base')
    await expect.poll(() => keys(), { timeout: 5000 }).toHaveLength(1)
    const [record = ''] = await keys()
    const news = new Promise<void>(resolve => storage.watch(key, resolve))
    let theirs: Promise<unknown> | undefined
    await freeze(async () => {
      expect(await storage.replaceItem(key, 'base', 'mine')).toBe(true)
      expect(await storage.getItem(key)).toBe('mine')
      // It lies there when Redis wakes up, beside our own command that was given up: both come before anything that we do afterwards.
      theirs = server.admin.set(record, 'theirs')
    })
    await theirs
    await news
    expect(await storage.getItem(key)).toBe('theirs')
  }, 20_000)

  it('has one subscriber per client, and closes it with the last watcher', async () => {
    const storage = await make()
    const subscribers = async () =>
      String(await server.admin.call('CLIENT', 'LIST', 'TYPE', 'pubsub'))
        .split('\n')
        .filter(Boolean).length
    const offs = ['a', 'b', 'c'].map(name => storage.watch(name, () => undefined))
    await expect.poll(() => server.admin.pubsub('CHANNELS')).toHaveLength(3)
    expect(await subscribers()).toBe(1)
    for (const off of offs) off()
    await expect.poll(subscribers).toBe(0)
  })

  it('hears what happened while its news were cut off', async () => {
    const [one, two] = [await make(), await make()]
    await one.setItem(key, 'old')
    await one.getItem(key)
    let heard: () => void = () => undefined
    const news = new Promise<void>(resolve => {
      heard = resolve
    })
    const off = one.watch(key, heard)
    await one.getItem(key)
    await expect.poll(() => server.admin.pubsub('CHANNELS')).toHaveLength(1)
    await server.admin.client('KILL', 'TYPE', 'pubsub')
    await two.setItem(key, 'new')
    await news
    off()
  })

  it('costs no command while the token is fresh', async () => {
    const { session, storage } = await makeSession()
    await session.adopt({ access_token: secret('fresh'), refresh_token: secret('refresh'), expires_in: 3600 })
    // After the adoption's own look under the lock.
    await storage.lock.request(key, {}, async () => undefined)
    const processed = async () => Number(/total_commands_processed:(\d+)/.exec(await server.admin.info('stats'))?.[1])
    await processed()
    const before = await processed()
    for (let count = 0; count < 100; count++) await session.fetch(url)
    expect((await processed()) - before).toBe(1)
    session.dispose()
  })

  it('lets a process end once its own client is closed, sessions or not', async () => {
    const script = fileURLToPath(new URL('./redis-exit.ts', import.meta.url))
    const { stdout } = await promisify(execFile)(process.execPath, [script, name, String(server.port)], {
      timeout: 10_000,
    })
    expect(Number(stdout)).toBeLessThan(500)
  }, 15_000)
})
