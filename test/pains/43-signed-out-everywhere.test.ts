import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { TokenStorage, Wake } from '../../src/index.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { asyncStorage, caught, createRealm, createWorld, pass, settle } from './support.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

/** localStorage over tabs: each write of one is an event in all others, which a frozen one gets on resume. */
function createLocalStorage(items: Map<string, string>) {
  const views = new Set<{ listeners: Set<() => void>; isFrozen: boolean; isMissed: boolean }>()
  return () => {
    const view = { listeners: new Set<() => void>(), isFrozen: false, isMissed: false }
    views.add(view)
    const tell = () => {
      for (const other of views) {
        if (other === view) continue
        if (other.isFrozen) other.isMissed = true
        else queueMicrotask(() => other.listeners.forEach(listener => void listener()))
      }
    }
    const storage: TokenStorage = {
      scope: 'shared',
      getItem: key => items.get(key),
      setItem(key, value) {
        items.set(key, value)
        tell()
      },
      removeItem(key) {
        items.delete(key)
        tell()
      },
      watch(_key, listener) {
        view.listeners.add(listener)
        return () => void view.listeners.delete(listener)
      },
    }
    return {
      storage,
      freeze() {
        view.isFrozen = true
      },
      resume() {
        view.isFrozen = false
        if (view.isMissed) for (const listener of view.listeners) listener()
      },
    }
  }
}

const waysOfNews = [
  'BroadcastChannel',
  'BroadcastChannel, the storage being asynchronous',
  'storage events alone',
  'a copy of sessionStorage and BroadcastChannel',
] as const

/** Tabs that learn of each other in one way. Each has a wake of its own. */
async function openTabs(news: (typeof waysOfNews)[number], count = 3) {
  if (news === 'storage events alone') vi.stubGlobal('BroadcastChannel', undefined)
  const world = createWorld()
  const open = createLocalStorage(world.items)
  const original = new Map<string, string>()
  const make = (index: number) => {
    let wake: () => void = () => undefined
    const hint: Wake = listener => {
      wake = listener
      return () => undefined
    }
    const local = open()
    const storage = {
      BroadcastChannel: () => world.storage(),
      'BroadcastChannel, the storage being asynchronous': () => asyncStorage(world.items),
      'storage events alone': () => local.storage,
      'a copy of sessionStorage and BroadcastChannel': () =>
        world.storage(index ? new Map(original) : original, { scope: 'tab' }),
    }[news]()
    const realm = createRealm(world, {
      storage,
      wake: hint,
      without: news === 'storage events alone' ? ['channel'] : [],
    })
    return {
      ...realm,
      freeze() {
        local.freeze()
        realm.channel.freeze()
      },
      resume() {
        local.resume()
        realm.channel.resume()
        wake()
      },
      /** From the back-forward cache: what was told meanwhile is lost. */
      restore: () => wake(),
    }
  }
  const first = make(0)
  await first.session.adopt(world.server.signIn())
  await settle()
  const tabs = [first, ...Array.from({ length: count - 1 }, (_, index) => make(index + 1))]
  for (const { session } of tabs) await session.ready
  await settle()
  for (const { session } of tabs) expect(session.state.status).toBe('signed-in')
  return { ...world, tabs, a: tabs[0]!, others: tabs.slice(1) }
}

describe.each(waysOfNews)('pain 43: over %s', news => {
  it('a sign-out in one tab is one in all, within a second: waiters and later calls reject, nothing is sent', async () => {
    const { a, others, clock, server } = await openTabs(news)
    clock.advance(301_000)
    const waiting = others.map(({ session }) => caught(session.fetch(api)))
    const done = a.session.signOut()
    await vi.advanceTimersByTimeAsync(1000)
    await done
    for (const { error } of await Promise.all(waiting)) expect(error).toMatchObject({ code: 'signed_out' })
    for (const { session, events } of others) {
      expect(session.state).toEqual({ status: 'signed-out', reason: 'elsewhere' })
      expect(events.filter(event => event.startsWith('signed-out'))).toEqual(['signed-out elsewhere'])
      expect((await caught(session.fetch(api))).error).toMatchObject({ code: 'signed_out' })
    }
    expect(server.stats.apiCalls).toBe(0)
  })

  it('tabs that were at rest, their tokens good for minutes, know it too', async () => {
    const { a, others, server } = await openTabs(news)
    await a.session.signOut()
    await vi.advanceTimersByTimeAsync(1000)
    for (const { session } of others) {
      expect(session.state).toEqual({ status: 'signed-out', reason: 'elsewhere' })
      expect((await caught(session.fetch(api))).error).toMatchObject({ code: 'signed_out' })
    }
    expect(server.stats.apiCalls).toBe(0)
  })

  it('a tab that was frozen meanwhile sends nothing any more when it resumes', async () => {
    const { a, others, server } = await openTabs(news)
    for (const { freeze } of others) freeze()
    await a.session.signOut()
    await settle()
    for (const { session, resume } of others) {
      resume()
      const call = caught(session.fetch(api))
      await vi.advanceTimersByTimeAsync(1000)
      expect((await call).error).toMatchObject({ code: 'signed_out' })
      expect(session.state.status).toBe('signed-out')
    }
    expect(server.stats.apiCalls).toBe(0)
  })
})

// What is told to a page in the back-forward cache is lost; a storage of its own could not tell it either.
describe.each(waysOfNews.slice(0, 3))('pain 43: over %s, to a tab that missed all news,', news => {
  it.each(['a sign-out', 'another sign-in'])('%s is known before it sends anything', async what => {
    const { a, others, server } = await openTabs(news)
    const tab = others[0]!
    tab.freeze()
    // From here on the API refuses the old token.
    server.expireAccess()
    const bob = what === 'another sign-in' ? server.signIn() : undefined
    await (bob ? a.session.adopt(bob) : a.session.signOut())
    await settle()
    tab.restore()
    const call = caught(tab.session.fetch(api))
    await vi.advanceTimersByTimeAsync(1000)
    if (!bob) {
      expect((await call).error).toMatchObject({ code: 'signed_out' })
      expect(server.stats.apiCalls).toBe(0)
      return
    }
    // Made before the storage could be read it was the old user's.
    const { value, error } = await call
    if (error) expect(error).toMatchObject({ code: 'signed_out' })
    else expect(value).toMatchObject({ status: 200 })
    expect(server.stats.apiRefusals).toBe(0)
    expect(await tab.session.getAccessToken()).toBe(bob.access_token)
    expect(tab.events).toContain('signed-out replaced')
  })
})

// Tabs with a storage of their own do not follow the sign-in of another tab.
describe.each(['BroadcastChannel', 'storage events alone'] as const)('pain 43: over %s another user', news => {
  it('signs in: what another tab had waiting is sent with nobody’s token', async () => {
    const { a, others, clock, server } = await openTabs(news)
    const sends = vi.spyOn(server, 'fetch')
    clock.advance(301_000)
    const waiting = others.map(({ session }) => caught(session.fetch(api)))
    const bob = server.signIn()
    const done = a.session.adopt(bob)
    await pass(clock, 1000)
    await done
    for (const { error } of await Promise.all(waiting)) expect(error).toMatchObject({ code: 'signed_out' })
    expect(sends).not.toHaveBeenCalled()
    for (const { session } of others) expect(await session.getAccessToken()).toBe(bob.access_token)
    expect(server.stats.apiCalls).toBe(0)
  })

  it('signs in while a tab is frozen: its old token is not sent, nor the new one for the old user', async () => {
    const { a, others, clock, server } = await openTabs(news)
    clock.advance(301_000)
    const [frozen] = others
    frozen!.freeze()
    const bob = server.signIn()
    await a.session.adopt(bob)
    await settle()
    const waiting = caught(frozen!.session.fetch(api))
    frozen!.resume()
    await pass(clock, 2000)
    expect((await waiting).error).toMatchObject({ code: 'signed_out' })
    expect(server.stats).toMatchObject({ apiCalls: 0, renewals: 0 })
    expect(await frozen!.session.getAccessToken()).toBe(bob.access_token)
  })
})
