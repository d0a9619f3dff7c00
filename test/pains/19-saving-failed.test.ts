import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession, type Wake, webStorage } from '../../src/index.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { caught, createGraceServer, createRealm, createWorld, pass, settle } from './support.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

const failures: [what: string, error: unknown][] = [
  ['a quota', Object.assign(new Error('quota'), { name: 'QuotaExceededError' })],
  ['a locked keychain', Object.assign(new Error('User interaction is not allowed.'), { code: -25_308 })],
  ['a full disk', Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })],
  ['a Redis that is down', Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })],
]

/** The token was rotated, and the write of the successor fails; from then on each write does, until `heal`. */
async function rotateUnsaved(error: unknown, graceMs = 0) {
  const world = createWorld()
  const server = createGraceServer(world.clock, graceMs)
  let hasAttempt = false
  let isBroken = false
  const storage = () =>
    world.storage(world.items, {
      async setItem(key, value) {
        if (isBroken || (hasAttempt && !value.includes('"attempt"'))) {
          isBroken = true
          throw error
        }
        world.items.set(key, value)
      },
    })
  let wake: () => void = () => undefined
  const hint: Wake = listener => {
    wake = listener
    return () => undefined
  }
  const options = { storage: storage(), grant: server.grant, fetch: server.fetch, wake: hint }
  const realm = createRealm(world, options)
  await realm.session.adopt(server.first())
  await settle()
  hasAttempt = true
  world.clock.advance(301_000)
  const call = caught(realm.session.fetch(api))
  await pass(world.clock, 1000)
  expect((await call).value).toMatchObject({ status: 200 })
  const heal = () => {
    isBroken = hasAttempt = false
  }
  return { ...world, ...realm, world, server, heal, storage, wake: () => wake() }
}

describe.each(failures)('pain 19: the successor can not be saved because of %s', (_what, error) => {
  it('it serves from memory, the app is told, and the spent token is not sent again from here', async () => {
    const { session, events, items, key, server, clock } = await rotateUnsaved(error)
    expect(events).toEqual(['signed-in', 'renewed', 'storage-failed'])
    expect(items.get(key)).toContain(secret('refresh-1'))
    expect(await session.getAccessToken()).toBe(secret('access-2'))
    for (let minute = 0; minute < 20; minute++) {
      const call = caught(session.fetch(api))
      await pass(clock, 60_000)
      await call
    }
    expect(server.stats).toMatchObject({ refusals: 0 })
    expect(session.state.status).toBe('signed-in')
  })

  it('the write is tried again by itself, until it works', async () => {
    const { items, key, clock, heal } = await rotateUnsaved(error)
    await pass(clock, 10_000)
    heal()
    await pass(clock, 60_000)
    expect(items.get(key)).toContain(secret('refresh-2'))
  })

  it('the write is tried again as soon as the app wakes up', async () => {
    const { items, key, clock, heal, wake } = await rotateUnsaved(error)
    await pass(clock, 100_000)
    heal()
    expect(items.get(key)).toContain(secret('refresh-1'))
    wake()
    await settle()
    expect(items.get(key)).toContain(secret('refresh-2'))
  })

  it('after a restart nothing is spent that could not be saved; a server with a reuse window forgives the rest', async () => {
    const { channel, items, key, server, heal, storage, session, world } = await rotateUnsaved(error, 120_000)
    session.dispose()
    channel.close()
    const restarted = createRealm(world, {
      storage: storage(),
      grant: server.grant,
      fetch: server.fetch,
    })
    const failing = caught(restarted.session.fetch(api))
    await pass(world.clock, 1000)
    expect((await failing).error).toMatchObject({ code: 'storage_unavailable', retryable: true })
    expect(server.stats.tokenCalls).toBe(1)
    expect(items.get(key)).toContain(secret('refresh-1'))
    heal()
    const healed = caught(restarted.session.fetch(api))
    await pass(world.clock, 1000)
    expect((await healed).value).toMatchObject({ status: 200 })
    expect(server.stats).toMatchObject({ rotations: 1, refusals: 0 })
  })
})

// Redis with whenDown: 'memory': test/storage/redis-faults.test.ts.
describe('pain 19: a storage that was fallen back to', () => {
  it('is the one that is read, also when the first choice is there again', async () => {
    const real = new Map<string, string>()
    const localStorage = {
      getItem: (key: string) => real.get(key) ?? null,
      setItem: (key: string, value: string) => void real.set(key, value),
      removeItem: (key: string) => void real.delete(key),
    }
    const make = () =>
      createSession({
        resources: api,
        storage: webStorage('local'),
        grant: async () => ({ access_token: secret('renewed'), expires_in: 60 }),
        fetch: async (_input, init) => new Response(new Headers(init?.headers).get('authorization')),
      })
    vi.stubGlobal('document', { addEventListener() {}, removeEventListener() {}, visibilityState: 'visible' })
    vi.stubGlobal('localStorage', undefined)
    const session = make()
    await session.adopt({ access_token: secret('a'), refresh_token: secret('r'), expires_in: 60 })
    vi.stubGlobal('localStorage', localStorage)
    const other = make()
    await other.adopt({ access_token: secret('old'), refresh_token: secret('old-r'), expires_in: 60 })
    expect(real.size).toBe(1)
    await session.renew()
    expect(await (await session.fetch(api)).text()).toBe(`Bearer ${secret('renewed')}`)
    expect([...real.values()].join()).toContain(secret('old-r'))
    session.dispose()
    other.dispose()
  })
})
