import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Lock, TokenResponse } from '../../src/index.ts'
import { redisStorage } from '../../src/redis.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { asyncStorage, caught, createGraceServer, createRealm, createWorld, deferred, pass, settle } from './support.ts'

// On a real Redis, in processes that are killed and stopped: test/processes/redis.test.ts, test/storage/redis-faults.test.ts.
beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** A lock with a lease: a holder that is slower than that loses it, and is told only when it looks. */
function leaseLock(leaseMs: number, { now }: { now(): number }): Lock {
  let holder: { untilMs: number; lost: AbortController } | undefined
  return {
    async request(_name, { signal }, callback) {
      for (;;) {
        if (signal?.aborted) throw signal.reason
        if (!holder || now() >= holder.untilMs) break
        await new Promise(resolve => setTimeout(resolve, 50))
      }
      holder?.lost.abort()
      const mine = { untilMs: now() + leaseMs, lost: new AbortController() }
      holder = mine
      try {
        await callback({ lost: mine.lost.signal })
      } finally {
        if (holder === mine) holder = undefined
      }
    },
  }
}

describe('pain 10: replicas that share a session', () => {
  it('eight of them with 50 requests each make one token call an expiry', async () => {
    const world = createWorld()
    const lock = leaseLock(10_000, world.clock)
    const replicas = Array.from({ length: 8 }, () =>
      createRealm(world, { storage: asyncStorage(world.items, true), lock }),
    )
    await replicas[0]!.session.adopt(world.server.signIn())
    for (const { session } of replicas) await session.ready
    await settle()
    for (let round = 1; round <= 5; round++) {
      world.clock.advance(301_000)
      const calls = Promise.all(replicas.flatMap(({ session }) => Array.from({ length: 50 }, () => session.fetch(api))))
      await pass(world.clock, 3000)
      const answers = await calls
      expect(answers).toHaveLength(400)
      expect(answers.every(({ status }) => status === 200)).toBe(true)
      expect(world.server.stats).toMatchObject({ renewals: round, refusals: 0, reuses: 0 })
    }
  })

  it('a holder that is slower than its lease does not write over its successor', async () => {
    const world = createWorld()
    const server = createGraceServer(world.clock, 1e9)
    const answer = deferred<TokenResponse>()
    const lock = leaseLock(10_000, world.clock)
    const slow = createRealm(world, {
      storage: asyncStorage(world.items, true),
      lock,
      fetch: server.fetch,
      grant: () => answer.promise,
    })
    const quick = createRealm(world, {
      storage: asyncStorage(world.items, true),
      lock,
      fetch: server.fetch,
      grant: server.grant,
    })
    await slow.session.adopt(server.first())
    await quick.session.ready
    await settle()
    world.clock.advance(301_000)
    const late = caught(slow.session.fetch(api))
    await settle()
    slow.channel.freeze()
    const call = caught(quick.session.fetch(api))
    await pass(world.clock, 12_000)
    expect((await call).value).toMatchObject({ status: 200 })
    await quick.session.renew()
    const newest = world.items.get(world.key)
    expect(newest).toContain(secret('refresh-3'))
    answer.resolve({ access_token: secret('access-2'), refresh_token: secret('refresh-2'), expires_in: 300 })
    await pass(world.clock, 3000)
    expect((await late).value).toMatchObject({ status: 200 })
    expect(world.items.get(world.key)).toBe(newest)
    expect(await slow.session.getAccessToken()).toBe(secret('access-3'))
  })

  it('whose backend is down reject with a typed error within their bounds, and go on when it is back', async () => {
    const world = createWorld()
    let isDown = false
    const inner = asyncStorage(world.items, true)
    const down = () => Promise.reject(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }))
    const { session } = createRealm(world, {
      storage: {
        getItem: key => (isDown ? down() : inner.getItem(key)),
        setItem: (key, value) => (isDown ? down() : inner.setItem(key, value)),
        removeItem: key => (isDown ? down() : inner.removeItem(key)),
        replaceItem: (key, expected, value) => (isDown ? down() : inner.replaceItem!(key, expected, value)),
      },
      lock: { request: (name, options, callback) => (isDown ? down() : world.lock.request(name, options, callback)) },
    })
    await session.adopt(world.server.signIn())
    await settle()
    isDown = true
    // A token at hand works on.
    expect((await session.fetch(api)).status).toBe(200)
    world.clock.advance(301_000)
    const call = caught(session.fetch(api))
    await pass(world.clock, 45_000)
    const { error } = (await call) as { error: { code: string } }
    expect(['storage_unavailable', 'lock_timeout']).toContain(error.code)
    expect(world.spent).toEqual([])
    isDown = false
    const next = caught(session.fetch(api))
    await pass(world.clock, 2000)
    expect((await next).value).toMatchObject({ status: 200 })
  })

  it('keep nothing readable in the names of their keys and channels: neither the user nor a token', async () => {
    const sent: string[] = []
    const record = (...args: unknown[]) => {
      sent.push(JSON.stringify(args))
      return Promise.resolve(null)
    }
    const storage = redisStorage({
      eval: record,
      evalsha: record,
      call: record,
      on: () => undefined,
      duplicate: () => ({}),
    } as never)
    await Promise.resolve(storage.getItem('latchkey:alice@example.com')).catch(() => undefined)
    expect(sent.length).toBeGreaterThan(0)
    for (const command of sent) expect(command).not.toContain('alice')
  })
})
