import { describe, expect, it } from 'vitest'
import { createSession, memoryStorage, type TokenStorage } from '../../src/index.ts'
import { createSessions } from '../../src/node.ts'
import { api, createClock, createStrictServer } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { caught, createRealm, createWorld, settle } from './support.ts'

describe('pain 6: where nothing can be saved (a server component)', () => {
  async function readOnly() {
    const world = createWorld()
    const writer = createRealm(world)
    await writer.session.adopt(world.server.signIn())
    await settle()
    writer.session.dispose()
    const before = world.items.get(world.key)
    const reader = createRealm(world, { storage: world.storage(world.items, { readOnly: true }) })
    await reader.session.ready
    return { ...world, ...reader, before }
  }

  it('a token that works is used', async () => {
    const { session, clock, server, spent } = await readOnly()
    for (const ms of [0, 200_000, 90_000]) {
      clock.advance(ms)
      expect((await session.fetch(api)).status).toBe(200)
      await settle()
    }
    expect(server.stats.apiCalls).toBe(3)
    expect(spent).toEqual([])
  })

  it.each([
    ['that has expired', (world: Awaited<ReturnType<typeof readOnly>>) => world.clock.advance(301_000)],
    [
      'that the API refuses',
      (world: Awaited<ReturnType<typeof readOnly>>) => {
        world.clock.advance(10_000)
        world.server.expireAccess()
      },
    ],
  ])('one %s is a typed error, and the refresh token is neither sent nor touched', async (_what, end) => {
    const world = await readOnly()
    const { session, spent, items, key, before } = world
    end(world)
    for (const call of [session.fetch(api), session.renew()]) {
      expect((await caught(call)).error).toMatchObject({ name: 'SessionError', code: 'read_only' })
    }
    expect(spent).toEqual([])
    expect(items.get(key)).toBe(before)
    expect(session.state.status).toBe('signed-in')
  })
})

/** The record in a cookie: what came with the request, and what goes out with its answer. */
function cookieStorage(came: string | undefined) {
  let cookie = came
  let setCookie: string | undefined
  const storage: TokenStorage = {
    scope: 'context',
    getItem: () => cookie,
    setItem(_key, value) {
      cookie = value
      setCookie = value
    },
    removeItem: () => undefined,
  }
  return { storage, setCookie: () => setCookie }
}

describe('pain 6: a request that is rendered by a server', () => {
  function setUp() {
    const clock = createClock()
    const server = createStrictServer({ clock })
    const make = (storage: TokenStorage) =>
      createSession({
        resources: api,
        storage,
        clock,
        fetch: server.fetch,
        grant: async ({ refreshToken }) => {
          await settle()
          const tokens = server.rotate(refreshToken)
          if (!tokens) throw Response.json({ error: 'invalid_grant' }, { status: 400 })
          return tokens
        },
      })
    return { clock, server, make }
  }

  it('with eight loaders at once costs one renewal and one Set-Cookie, and what comes later in it has the new token', async () => {
    const { clock, server, make } = setUp()
    const browser = cookieStorage(undefined)
    await make(browser.storage).adopt(server.signIn())
    clock.advance(301_000)
    const request = cookieStorage(browser.setCookie())
    // One session for the request, and one that a loader made for itself.
    const [session, own] = [make(request.storage), make(request.storage)]
    const answers = await Promise.all(Array.from({ length: 8 }, (_, index) => (index % 2 ? own : session).fetch(api)))
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200))
    expect(server.stats).toMatchObject({ renewals: 1, reuses: 0, apiRefusals: 0 })
    expect(request.setCookie()).toContain(secret('refresh-2'))
    const downstream = make(request.storage)
    expect((await downstream.fetch(api)).status).toBe(200)
    expect(server.stats).toMatchObject({ renewals: 1, apiRefusals: 0 })
  })

  it('at once with another one of the same user: one renewal, whatever the order in which the answers arrive', async () => {
    const clock = createClock()
    const server = createStrictServer({ clock })
    const storage = memoryStorage()
    const sessions = createSessions({
      resources: api,
      storage,
      clock,
      fetch: server.fetch,
      grant: async ({ refreshToken }) => {
        await settle()
        const tokens = server.rotate(refreshToken)
        if (!tokens) throw Response.json({ error: 'invalid_grant' }, { status: 400 })
        return tokens
      },
    })
    // The cookie names the user, and the record stays here: no answer carries one that could overtake a newer.
    await sessions.for('alice').adopt(server.signIn())
    for (let round = 1; round <= 5; round++) {
      clock.advance(301_000)
      const [first, second] = [sessions.for('alice').fetch(api), sessions.for('alice').fetch(api)]
      expect((await second).status).toBe(200)
      expect((await first).status).toBe(200)
      expect(server.stats).toMatchObject({ renewals: round, reuses: 0 })
    }
    sessions.dispose()
  })

  it('and whose record is overtaken by an older one keeps the newer: the generation tells which is which', async () => {
    const world = createWorld()
    const { session } = createRealm(world)
    await session.adopt(world.server.signIn())
    await settle()
    const older = world.items.get(world.key) ?? ''
    world.clock.advance(301_000)
    await session.renew()
    await settle()
    world.items.set(world.key, older)
    world.network.join().postMessage({ from: 'x', id: JSON.parse(older).id, generation: 99, what: 'changed' })
    await settle()
    expect(world.items.get(world.key)).toContain(secret('refresh-2'))
    expect(await session.getAccessToken()).toBe(secret('access-2'))
    expect(world.spent).toEqual([secret('refresh-1')])
  })
})
