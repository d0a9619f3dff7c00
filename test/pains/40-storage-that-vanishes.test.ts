import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession } from '../../src/index.ts'
import { cookieSession } from '../../src/oauth.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { createRealm, createWorld, pass, settle } from './support.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

describe('pain 40: the platform deletes what is stored', () => {
  it.each([1, 3])('between two calls: memory goes on, and saves the session again (%d tabs)', async count => {
    const world = createWorld()
    const tabs = Array.from({ length: count }, () => createRealm(world))
    await tabs[0]!.session.adopt(world.server.signIn())
    await settle()
    for (const { session } of tabs) await session.ready
    for (let round = 1; round <= 5; round++) {
      world.items.clear()
      for (const { session } of tabs) expect((await session.fetch(api)).status).toBe(200)
      world.clock.advance(301_000)
      const calls = Promise.all(tabs.map(({ session }) => session.fetch(api)))
      await pass(world.clock, 1000)
      expect((await calls).map(({ status }) => status)).toEqual(Array(count).fill(200))
      expect(world.items.get(world.key)).toContain(secret(`refresh-${round + 1}`))
      expect(world.server.stats).toMatchObject({ renewals: round, reuses: 0, refusals: 0 })
    }
    expect(tabs.flatMap(({ events }) => events).filter(event => event.startsWith('signed-out'))).toEqual([])
  })

  it('while the app slept: waking up finds nothing stored, signs nobody out, and saves the session at the next renewal', async () => {
    const world = createWorld()
    let wake: () => void = () => undefined
    const { session, events } = createRealm(world, {
      wake: listener => {
        wake = listener
        return () => undefined
      },
    })
    await session.adopt(world.server.signIn())
    await settle()
    world.items.clear()
    wake()
    expect((await session.fetch(api)).status).toBe(200)
    world.clock.advance(301_000)
    wake()
    expect((await session.fetch(api)).status).toBe(200)
    expect(world.items.get(world.key)).toContain(secret('refresh-2'))
    expect(events).toEqual(['signed-in', 'renewed'])
  })

  it('between two tabs: one that opens then finds nobody signed in, and signs nobody out', async () => {
    const world = createWorld()
    const old = createRealm(world)
    await old.session.adopt(world.server.signIn())
    await settle()
    world.items.clear()
    const young = createRealm(world)
    await young.session.ready
    expect(young.session.state).toEqual({ status: 'signed-out' })
    await settle()
    expect(old.session.state.status).toBe('signed-in')
    world.clock.advance(301_000)
    expect((await old.session.fetch(api)).status).toBe(200)
    await settle()
    // The renewal was news, and saved.
    expect(young.session.state.status).toBe('signed-in')
    expect((await young.session.fetch(api)).status).toBe(200)
    expect(world.server.stats).toMatchObject({ renewals: 1, reuses: 0 })
  })

  it('before a start: with the refresh token in a cookie of the backend the session is there again', async () => {
    const world = createWorld()
    const cookies = { isThere: false }
    const calls: string[] = []
    const backend = async (input: RequestInfo | URL, init?: RequestInit) => {
      const { pathname } = new URL(new Request(input).url)
      calls.push(pathname)
      if (pathname === '/session/sign-in') cookies.isThere = true
      if (pathname.startsWith('/session')) {
        return cookies.isThere
          ? Response.json({ access_token: secret(`cookie-${calls.length}`), expires_in: 300 })
          : new Response(null, { status: 401 })
      }
      return new Response(new Headers(init?.headers).get('authorization'))
    }
    const start = () =>
      createSession({
        resources: api,
        name: 'test',
        grant: cookieSession({
          refreshEndpoint: `${api}/session/refresh`,
          signInEndpoint: `${api}/session/sign-in`,
        }),
        clock: world.clock,
        lock: world.lock,
        channel: world.network.join(),
        storage: world.storage(),
        fetch: backend as typeof fetch,
      })
    const before = start()
    await before.signIn({ user: 'alice' })
    before.dispose()
    world.items.clear()
    calls.length = 0
    const after = start()
    await after.ready
    expect(after.state.status).toBe('signed-in')
    expect(await (await after.fetch(`${api}/items`)).text()).toBe(`Bearer ${secret('cookie-1')}`)
    expect(calls).toEqual(['/session/refresh', '/items'])
  })
})
