import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { api } from '../servers/strict-authorization-server.ts'
import { asyncStorage, createGraceServer, createRealm, createWorld, pass, settle } from './support.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

// In real tabs of a real Chromium: test/tabs/tabs.test.ts.
describe('pain 3: ten tabs whose tokens expire at once', () => {
  it('make one token call a round, 100 rounds long, against a server that forgives nothing', async () => {
    const world = createWorld()
    const tabs = Array.from({ length: 10 }, () => createRealm(world))
    await tabs[0]!.session.adopt(world.server.signIn())
    await settle()
    for (let round = 1; round <= 100; round++) {
      world.clock.advance(301_000)
      const calls = Promise.all(tabs.map(({ session }) => session.fetch(api)))
      await vi.advanceTimersByTimeAsync(1000)
      expect((await calls).map(({ status }) => status)).toEqual(Array(10).fill(200))
      expect(world.server.stats).toMatchObject({ renewals: round, refusals: 0, reuses: 0 })
      const tokens = await Promise.all(tabs.map(({ session }) => session.getAccessToken()))
      expect(new Set(tokens).size).toBe(1)
    }
    expect(tabs.flatMap(({ events }) => events).filter(event => event.startsWith('signed-out'))).toEqual([])
  })

  const degraded = ['lock', 'channel'] as const
  it.each([
    ['Web Locks', [degraded[0]], 'localStorage'],
    ['BroadcastChannel', [degraded[1]], 'localStorage'],
    ['both', degraded, 'localStorage'],
    ['Web Locks', [degraded[0]], 'an asynchronous storage'],
    ['BroadcastChannel', [degraded[1]], 'an asynchronous storage'],
    ['both', degraded, 'an asynchronous storage'],
  ] as const)(
    'without %s (%j) on %s: who loses adopts what the winner got, and nobody is signed out',
    async (_name, without, storage) => {
      vi.stubGlobal('navigator', {})
      vi.stubGlobal('BroadcastChannel', undefined)
      const world = createWorld()
      const server = createGraceServer(world.clock)
      const tabs = Array.from({ length: 10 }, () =>
        createRealm(world, {
          without,
          grant: server.grant,
          fetch: server.fetch,
          storage: storage === 'localStorage' ? world.storage() : asyncStorage(world.items),
        }),
      )
      await tabs[0]!.session.adopt(server.first())
      await settle()
      for (const { session } of tabs) await session.ready
      for (let round = 1; round <= 20; round++) {
        world.clock.advance(301_000)
        const calls = Promise.all(tabs.map(({ session }) => session.fetch(api)))
        await pass(world.clock, 5000)
        expect((await calls).map(({ status }) => status)).toEqual(Array(10).fill(200))
        expect(server.stats.rotations).toBe(round)
        if (!without.includes('lock' as never)) expect(server.stats.tokenCalls).toBe(round)
        const tokens = await Promise.all(tabs.map(({ session }) => session.getAccessToken()))
        expect(new Set(tokens).size).toBe(1)
      }
      if (without.includes('lock' as never)) expect(server.stats.refusals).toBeGreaterThan(0)
      expect(tabs.flatMap(({ events }) => events).filter(event => event.startsWith('signed-out'))).toEqual([])
    },
  )
})
