import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession } from '../../src/index.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { createGraceServer, createRealm, createWorld, pass, settle } from './support.ts'

beforeEach(() => {
  vi.useFakeTimers()
  vi.stubGlobal('navigator', {})
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

describe('pain 41: where there are no Web Locks', () => {
  it('the docs say that two tabs may send the same refresh token', () => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
    expect(readme).toMatch(/Without Web Locks two tabs may send the same refresh token/)
  })

  it('the app is told so, once', async () => {
    const world = createWorld()
    const { session, events } = createRealm(world, { without: ['lock'] })
    await session.adopt(world.server.signIn())
    for (let round = 0; round < 3; round++) {
      world.clock.advance(301_000)
      await session.renew()
    }
    expect(events.filter(event => event.startsWith('degraded'))).toEqual(['degraded lock'])
  })

  it('50 sessions of one page on one storage renew once all the same, and nobody times out', async () => {
    const world = createWorld()
    const storage = world.storage()
    let inside = 0
    let most = 0
    const sessions = Array.from({ length: 50 }, () =>
      createSession({
        resources: api,
        name: 'test',
        clock: world.clock,
        channel: world.network.join(),
        storage,
        fetch: world.server.fetch,
        grant: async (tokens, context) => {
          most = Math.max(most, ++inside)
          await settle()
          inside--
          return world.grant.renew(tokens, context)
        },
      }),
    )
    await sessions[0]!.adopt(world.server.signIn())
    for (const session of sessions) await session.ready
    for (let round = 1; round <= 20; round++) {
      world.clock.advance(301_000)
      const calls = Promise.all(sessions.map(session => session.fetch(api)))
      await pass(world.clock, 1000)
      expect((await calls).every(({ status }) => status === 200)).toBe(true)
      expect(world.server.stats).toMatchObject({ renewals: round, refusals: 0, reuses: 0 })
    }
    expect(most).toBe(1)
  })

  it('of 50 tabs those that lose adopt what the winner got, 20 rounds long, and nobody is signed out', async () => {
    const world = createWorld()
    const server = createGraceServer(world.clock)
    const tabs = Array.from({ length: 50 }, () =>
      createRealm(world, { without: ['lock'], grant: server.grant, fetch: server.fetch }),
    )
    await tabs[0]!.session.adopt(server.first())
    await settle()
    for (const { session } of tabs) await session.ready
    for (let round = 1; round <= 20; round++) {
      world.clock.advance(301_000)
      const calls = Promise.all(tabs.map(({ session }) => session.fetch(api)))
      await pass(world.clock, 5000)
      expect((await calls).every(({ status }) => status === 200)).toBe(true)
      expect(server.stats.rotations).toBe(round)
    }
    expect(server.stats.refusals).toBeGreaterThan(0)
    expect(tabs.flatMap(({ events }) => events).filter(event => event.startsWith('signed-out'))).toEqual([])
  })
})
