import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { TokenStorage } from '../../src/index.ts'
import { redisStorage } from '../../src/redis.ts'
import { describeLock, holder } from '../locks/lock-suite.ts'
import { clients, clusters, type RedisStorageOptions, type TestClient } from './redis-clients.ts'
import { hasRedis, type RedisServer, startRedis } from './redis-server.ts'
import { describeStorage } from './storage-suite.ts'

const key = 'latchkey:a'
let count = 0

describe.skipIf(!hasRedis).each(['node-redis', 'ioredis'] as const)('redisStorage with %s', name => {
  describe.each([
    ['one server', false],
    ['a cluster of one node', true],
  ])('on %s', (_what, isCluster) => {
    let server: RedisServer
    let open: TestClient[] = []
    beforeAll(async () => {
      server = await startRedis({ isCluster })
    })
    afterEach(() => {
      for (const { close } of open) close()
      open = []
    })
    afterAll(() => server?.close())

    const prefix = () => `test-${++count}:`
    async function connect(): Promise<TestClient> {
      const client = await (isCluster ? clusters : clients)[name](server.port)
      open.push(client)
      return client
    }
    const make = async (options: RedisStorageOptions = {}): Promise<TokenStorage> =>
      redisStorage((await connect()).client, { prefix: prefix(), ...options })

    describeStorage('it', async () => {
      const shared = { prefix: prefix() }
      const storage = await make(shared)
      const other = await make(shared)
      return {
        storage,
        async changeElsewhere(changed, value) {
          // The watcher under test and this one.
          const heard = new Promise<void>(resolve => {
            const off = storage.watch?.(changed, async () => {
              await storage.getItem(changed)
              off?.()
              resolve()
            })
          })
          await expect.poll(async () => (await server.admin.pubsub('CHANNELS')).length).toBeGreaterThanOrEqual(1)
          await new Promise(resolve => setTimeout(resolve, 30))
          if (value === undefined) await other.removeItem(changed)
          else await other.setItem(changed, value)
          await heard
        },
      }
    })

    describeLock('its lock', async () => {
      const { lock } = await make()
      if (!lock) throw new Error('redisStorage brings a lock')
      return lock
    })

    it('names nothing in keys and channels but a hash, with one tag for the record, the lock and the channel', async () => {
      const storage = await make({ prefix: 'p:' })
      const off = storage.watch?.(key, () => undefined)
      await storage.setItem(key, 'secret stuff')
      await storage.lock?.request(key, {}, async () => {
        const keys = (await server.admin.keys('*')).filter(found => found.startsWith('p:')).sort()
        expect(keys.map(found => found.replace(/[0-9a-f]{32}/, 'hash'))).toEqual(['p:{hash}', 'p:{hash}:lock'])
        const [record = '', lock = ''] = keys
        expect(await server.admin.pttl(record)).toBe(-1)
        expect(await server.admin.pttl(lock)).toBeGreaterThan(0)
        await expect.poll(() => server.admin.pubsub('CHANNELS', 'p:*')).toEqual([`${record}:news`])
      })
      off?.()
    })

    it('lives for ttlMs after each write', async () => {
      const storage = await make({ prefix: 'ttl:', ttlMs: 60_000 })
      await storage.setItem(key, 'one')
      const [record = ''] = await server.admin.keys('ttl:*')
      await server.admin.pexpire(record, 1000)
      expect(await storage.replaceItem?.(key, 'one', 'two')).toBe(true)
      expect(await server.admin.pttl(record)).toBeGreaterThan(50_000)
    })

    it('works on after its scripts were flushed', async () => {
      const storage = await make()
      await storage.setItem(key, 'one')
      await server.admin.script('FLUSH')
      expect(await storage.replaceItem?.(key, 'one', 'two')).toBe(true)
      await server.admin.script('FLUSH')
      expect(await storage.getItem(key)).toBe('two')
    })

    it('never runs the callback of a request that was robbed while it waited for another process', async () => {
      const shared = { prefix: prefix(), leaseMs: 60_000 }
      const [other, own] = [await make(shared), await make(shared)]
      const log: string[] = []
      const first = holder(log, 'other')
      const held = other.lock?.request(key, {}, first.hold)
      await first.begun
      const robbed = own.lock?.request(key, {}, async () => void log.push('robbed')).catch(error => error)
      // It waits for news of the other one.
      await expect.poll(async () => (await server.admin.pubsub('CHANNELS', `${shared.prefix}*`)).length).toBe(1)
      await own.lock?.request(key, { steal: true }, async () => void log.push('thief'))
      expect(await robbed).toMatchObject({ name: 'AbortError' })
      first.release()
      await held
      for (let count = 0; count < 2; count++) await own.lock?.request(key, {}, async () => void log.push('next'))
      await expect.poll(() => server.admin.keys(`${shared.prefix}*`)).toEqual([])
      expect(log).toEqual(['other begins', 'thief', 'other ends', 'next', 'next'])
    })

    it('keeps two locks of two clients apart, and hands over by news, not at the end of the lease', async () => {
      const shared = { prefix: prefix(), leaseMs: 60_000 }
      const [one, two] = [await make(shared), await make(shared)]
      const log: string[] = []
      let release: () => void = () => undefined
      let begun: () => void = () => undefined
      const holding = new Promise<void>(resolve => {
        begun = resolve
      })
      const first = one.lock?.request(key, {}, async () => {
        begun()
        await new Promise<void>(resolve => {
          release = resolve
        })
        log.push('first')
      })
      await holding
      const second = two.lock?.request(key, {}, async () => void log.push('second'))
      await expect.poll(async () => (await server.admin.pubsub('CHANNELS', `${shared.prefix}*`)).length).toBe(1)
      release()
      await Promise.all([first, second])
      expect(log).toEqual(['first', 'second'])
      expect((await server.admin.keys(`${shared.prefix}*`)).length).toBe(0)
    })
  })
})
