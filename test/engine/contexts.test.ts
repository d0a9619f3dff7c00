import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { api } from '../servers/strict-authorization-server.ts'
import { canary, secret } from '../support/no-leaks.ts'
import { createWorld, settle } from './contexts-fakes.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

describe('contexts on one storage', () => {
  async function signedIn(count = 2) {
    const world = createWorld()
    const contexts = Array.from({ length: count }, () => world.context())
    await contexts[0]?.session.adopt(world.server.signIn())
    for (const { session } of contexts) await session.ready
    await settle()
    return { ...world, contexts, a: contexts[0] as never as Context, b: contexts[1] as never as Context }
  }
  type Context = ReturnType<ReturnType<typeof createWorld>['context']>

  it('renew once, however many ask at once, and all get the new token', async () => {
    const { contexts, clock, server, spent } = await signedIn(10)
    for (let round = 1; round <= 3; round++) {
      clock.advance(301_000)
      const calls = contexts.flatMap(({ session }) => [
        session.fetch(api),
        session.fetch(api),
        session.getAccessToken(),
      ])
      await settle()
      await vi.advanceTimersByTimeAsync(5000)
      const answers = await Promise.all(calls)
      for (const answer of answers) if (typeof answer !== 'string') expect(answer.status).toBe(200)
      expect(server.stats).toMatchObject({ renewals: round, reuses: 0, apiRefusals: 0 })
    }
    expect(new Set(spent).size).toBe(3)
  })

  it('adopt what another renewed by its news, without asking the server or the lock', async () => {
    const { a, b, clock, spent } = await signedIn()
    clock.advance(301_000)
    await a.session.renew()
    await settle()
    expect(b.events).toContain('adopted')
    expect(await b.session.getAccessToken()).toBe(secret('access-2'))
    expect(spent).toEqual([secret('refresh-1')])
  })

  it('leave the queue of the lock when the news comes', async () => {
    const { a, b, clock, spent } = await signedIn()
    clock.advance(301_000)
    const calls = Promise.all([a.session.fetch(api), b.session.fetch(api)])
    await settle()
    await vi.advanceTimersByTimeAsync(0)
    expect((await calls).map(({ status }) => status)).toEqual([200, 200])
    expect(spent).toHaveLength(1)
  })

  it('find the successor in the storage where no news ever comes', async () => {
    const { a, b, clock, spent, server } = await signedIn()
    b.channel.freeze()
    clock.advance(301_000)
    await a.session.renew()
    expect((await b.session.fetch(api)).status).toBe(200)
    expect(spent).toHaveLength(1)
    expect(server.stats.apiRefusals).toBe(0)
  })

  it('are signed out by a sign-out elsewhere: waiters and later calls reject, nothing is sent', async () => {
    const { a, b, server } = await signedIn()
    await a.session.signOut()
    await settle()
    expect(b.session.state).toEqual({ status: 'signed-out', reason: 'elsewhere' })
    expect(b.events).toContain('signed-out elsewhere')
    await expect(b.session.fetch(api)).rejects.toMatchObject({ code: 'signed_out' })
    expect(server.stats.apiCalls).toBe(0)
  })

  it('learn of a sign-out without news when they renew, and spend nothing', async () => {
    const { a, b, clock, spent } = await signedIn()
    b.channel.freeze()
    await a.session.signOut()
    clock.advance(301_000)
    await expect(b.session.fetch(api)).rejects.toMatchObject({ code: 'signed_out' })
    expect(b.session.state).toMatchObject({ reason: 'elsewhere' })
    expect(spent).toEqual([])
  })

  it('read after a wake, before anything is sent', async () => {
    const world = createWorld()
    let wake: () => void = () => undefined
    const a = world.context()
    const b = world.context({
      wake: listener => {
        wake = listener
        return () => undefined
      },
    })
    await a.session.adopt(world.server.signIn())
    await b.session.ready
    await settle()
    expect(b.session.state.status).toBe('signed-in')
    b.channel.freeze()
    await a.session.signOut()
    wake()
    await expect(b.session.fetch(api)).rejects.toMatchObject({ code: 'signed_out' })
    expect(world.server.stats.apiCalls).toBe(0)
  })

  it('follow a sign-in elsewhere, and a request that began before it is never sent with its token', async () => {
    const { a, b, server, clock } = await signedIn()
    clock.advance(301_000)
    const call = b.session.fetch(api)
    await a.session.adopt(server.signIn())
    await settle()
    await expect(call).rejects.toMatchObject({ code: 'signed_out' })
    expect(await b.session.getAccessToken()).toBe(await a.session.getAccessToken())
    expect(server.stats.apiCalls).toBe(0)
  })

  it('are signed out when the item is removed with news, and go on when it just is not there any more', async () => {
    const { a, b, items, key, clock, network } = await signedIn()
    items.delete(key)
    clock.advance(301_000)
    expect((await a.session.fetch(api)).status).toBe(200)
    expect(items.get(key)).toContain(secret('refresh-2'))
    await settle()
    items.delete(key)
    network.join().postMessage({ from: 'x', id: 'x', generation: 1e6, what: 'changed' })
    await settle()
    expect([a, b].map(({ session }) => session.state.status)).toEqual(['signed-out', 'signed-out'])
  })

  it('share the back-off: one asks, the others keep quiet until its end', async () => {
    const world = createWorld()
    let asked = 0
    const grant = () => {
      asked++
      return Promise.reject(new Response(null, { status: 503, headers: { 'retry-after': '60' } }))
    }
    const [a, b] = [world.context({ grant }), world.context({ grant })]
    await a.session.adopt(world.server.signIn())
    await b.session.ready
    world.clock.advance(301_000)
    await expect(a.session.fetch(api)).rejects.toMatchObject({ code: 'unreachable' })
    await expect(b.session.fetch(api)).rejects.toMatchObject({
      code: 'unreachable',
      retryAtMs: world.clock.now() + 60_000,
    })
    expect(asked).toBe(1)
  })

  it('tell each other no token', async () => {
    const { a, b, clock, network } = await signedIn()
    clock.advance(301_000)
    await b.session.renew()
    await a.session.signOut()
    await settle()
    expect(network.messages.length).toBeGreaterThan(0)
    expect(JSON.stringify(network.messages)).not.toContain(canary)
  })

  it('survive any message', async () => {
    const { a, b, network } = await signedIn()
    const stranger = network.join()
    const odd = [
      null,
      undefined,
      7,
      'text',
      [],
      {},
      { what: 'answer' },
      { what: 'hello', from: 1 },
      { what: 'changed', generation: 'x' },
    ]
    for (const message of odd) stranger.postMessage(message)
    const record = {
      v: 1,
      id: 'forged',
      generation: 99,
      grant: 'custom',
      savedAtMs: 0,
      tokens: { accessToken: secret('forged'), tokenType: 'Bearer' },
    }
    stranger.postMessage({ from: 'x', id: 'forged', generation: 99, what: 'answer', record })
    await settle()
    for (const { session } of [a, b]) expect(await session.getAccessToken()).toBe(secret('access-1'))
  })
})

describe('a clone of a tab', () => {
  async function cloned() {
    const world = createWorld()
    const items = [new Map<string, string>(), new Map<string, string>()] as const
    const make = (own: Map<string, string>) => world.context({ storage: world.storage(own, { scope: 'tab' }) })
    const original = make(items[0])
    await original.session.adopt(world.server.signIn())
    // The browser copies sessionStorage when a tab is duplicated.
    for (const [key, value] of items[0]) items[1].set(key, value)
    const clone = make(items[1])
    await clone.session.ready
    await settle()
    return { ...world, items, original, clone, make }
  }

  it('does not spend the refresh token that its original has spent', async () => {
    const { original, clone, clock, spent, server } = await cloned()
    clock.advance(301_000)
    const first = original.session.fetch(api)
    await settle()
    await vi.advanceTimersByTimeAsync(200)
    expect((await first).status).toBe(200)
    const second = clone.session.fetch(api)
    await vi.advanceTimersByTimeAsync(200)
    expect((await second).status).toBe(200)
    expect(spent).toEqual([secret('refresh-1')])
    expect(server.stats).toMatchObject({ reuses: 0, apiRefusals: 0 })
  })

  it('does not either when both find the token expired at once, nor in the rounds after', async () => {
    const { original, clone, clock, spent, server, items, key } = await cloned()
    for (let round = 1; round <= 3; round++) {
      clock.advance(301_000)
      const calls = Promise.all([clone.session.fetch(api), original.session.fetch(api)])
      await vi.advanceTimersByTimeAsync(2000)
      expect((await calls).map(({ status }) => status)).toEqual([200, 200])
      expect(server.stats).toMatchObject({ renewals: round, reuses: 0 })
      // Each has what the other knows, for its own reload.
      for (const own of items) expect(own.get(key)).toContain(secret(`refresh-${round + 1}`))
    }
    expect(new Set(spent).size).toBe(3)
  })

  it('asks before it spends, also when it slept through the news', async () => {
    const { original, clone, clock, spent, server } = await cloned()
    clone.channel.freeze()
    clock.advance(301_000)
    const first = original.session.fetch(api)
    await vi.advanceTimersByTimeAsync(200)
    await first
    const second = clone.session.fetch(api)
    await settle()
    clone.channel.resume()
    await vi.advanceTimersByTimeAsync(2000)
    expect((await second).status).toBe(200)
    expect(spent).toEqual([secret('refresh-1')])
    expect(server.stats.reuses).toBe(0)
  })

  it('is signed out with its original', async () => {
    const { original, clone, items, key } = await cloned()
    await original.session.signOut()
    await settle()
    expect(clone.session.state).toEqual({ status: 'signed-out', reason: 'elsewhere' })
    await vi.advanceTimersByTimeAsync(1000)
    expect(items[0].get(key)).toContain('signedOut')
  })
})
