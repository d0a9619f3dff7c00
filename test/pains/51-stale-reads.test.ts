import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { TokenStorage } from '../../src/index.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { canary, secret } from '../support/no-leaks.ts'
import { caught, createGraceServer, createRealm, createWorld, pass, settle } from './support.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

/** Tabs with a copy of the items each, as Safari's processes have: what one writes, the others see `staleMs` later. */
function staleStorage(world: ReturnType<typeof createWorld>, staleMs: number) {
  const views = new Set<{ items: Map<string, string>; arrivals: { atMs: number; key: string; value: string }[] }>()
  return (): TokenStorage => {
    const view = { items: new Map(world.items), arrivals: [] as { atMs: number; key: string; value: string }[] }
    views.add(view)
    return {
      scope: 'shared',
      getItem(key) {
        while (view.arrivals[0] && view.arrivals[0].atMs <= world.clock.now()) {
          const { key: name, value } = view.arrivals.shift() as (typeof view.arrivals)[number]
          view.items.set(name, value)
        }
        return view.items.get(key)
      },
      setItem(key, value) {
        for (const other of views) {
          if (other !== view) other.arrivals.push({ atMs: world.clock.now() + staleMs, key, value })
        }
        view.items.set(key, value)
        world.items.set(key, value)
      },
      removeItem: () => undefined,
    }
  }
}

describe('pain 51: a tab whose reads are stale for 5 s after another tab’s write', () => {
  async function open(count = 2) {
    const world = createWorld()
    const view = staleStorage(world, 5000)
    const tabs = Array.from({ length: count }, () => createRealm(world, { storage: view() }))
    await tabs[0]!.session.adopt(world.server.signIn())
    await pass(world.clock, 6000)
    for (const { session } of tabs) await session.ready
    await settle()
    return { ...world, tabs, view, a: tabs[0]!, b: tabs[1]! }
  }

  it('is told of the generation, asks for it, and does not spend what another tab has spent', async () => {
    const { a, b, clock, server, spent, network } = await open()
    clock.advance(301_000)
    await a.session.renew()
    await settle()
    for (let half = 0; half < 12; half++) {
      const call = caught(b.session.fetch(api))
      await pass(clock, 500)
      expect((await call).value).toMatchObject({ status: 200 })
    }
    expect(spent).toEqual([secret('refresh-1')])
    expect(server.stats).toMatchObject({ renewals: 1, reuses: 0, apiRefusals: 0 })
    // What is told to everybody holds no token; what was asked for goes to the one that asked.
    const [told, asked] = [
      network.messages.filter(({ record }) => !record),
      network.messages.filter(({ record }) => record),
    ]
    expect(JSON.stringify(told)).not.toContain(canary)
    for (const message of asked) expect(message).toMatchObject({ what: 'answer', to: expect.any(String) })
  })

  it('nor do ten of them, all at once, 20 expiries long', async () => {
    const { tabs, clock, server, spent } = await open(10)
    for (let round = 1; round <= 20; round++) {
      clock.advance(301_000)
      const calls = Promise.all(tabs.map(({ session }) => caught(session.fetch(api))))
      await pass(clock, 4000)
      for (const { value } of await calls) expect(value).toMatchObject({ status: 200 })
      expect(server.stats).toMatchObject({ renewals: round, reuses: 0, refusals: 0 })
    }
    expect(new Set(spent).size).toBe(20)
    for (const { session } of tabs) expect(session.state.status).toBe('signed-in')
  })

  it('does not write the old record over the new one', async () => {
    const { a, b, clock, items, key } = await open()
    clock.advance(301_000)
    await a.session.renew()
    const call = caught(b.session.fetch(api))
    await pass(clock, 1000)
    await call
    expect(items.get(key)).toContain(secret('refresh-2'))
    await pass(clock, 10_000)
    expect(items.get(key)).toContain(secret('refresh-2'))
  })

  it('is not brought back by a stale read after a sign-out elsewhere', async () => {
    const { a, b, clock, server } = await open()
    await a.session.signOut()
    await settle()
    for (let second = 0; second < 6; second++) {
      const call = caught(b.session.fetch(api))
      await pass(clock, 1000)
      expect((await call).error).toMatchObject({ code: 'signed_out' })
    }
    expect(server.stats.apiCalls).toBe(0)
  })
})

describe('pain 51: a tab whose reads are stale, and whom nobody tells', () => {
  it('waits after an invalid_grant and reads again, before anything is given up', async () => {
    vi.stubGlobal('BroadcastChannel', undefined)
    const world = createWorld()
    const server = createGraceServer(world.clock)
    const view = staleStorage(world, 900)
    const make = () =>
      createRealm(world, { without: ['channel'], storage: view(), grant: server.grant, fetch: server.fetch })
    const [a, b] = [make(), make()]
    await a.session.adopt(server.first())
    await pass(world.clock, 1000)
    await b.session.ready
    world.clock.advance(301_000)
    await a.session.renew()
    const call = caught(b.session.fetch(api))
    await pass(world.clock, 3000, 100)
    expect((await call).value).toMatchObject({ status: 200 })
    expect(server.stats).toMatchObject({ rotations: 1, refusals: 1 })
    expect(b.events.filter(event => event.startsWith('signed-out'))).toEqual([])
    expect(await b.session.getAccessToken()).toBe(secret('access-2'))
  })
})
