import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession, memoryStorage } from '../../src/index.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { createWorld, deferred, settle } from './contexts-fakes.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** A storage whose first read ends when the test says so, over one that is signed in. */
async function slow() {
  const world = createWorld()
  const first = world.context()
  await first.session.adopt(world.server.signIn())
  await settle()
  first.session.dispose()
  const gate = deferred()
  let reads = 0
  const storage = world.storage(world.items, {
    getItem: async key => {
      reads++
      await gate.promise
      return world.items.get(key)
    },
  })
  return { ...world, ...world.context({ storage }), gate, reads: () => reads }
}

describe('createSession', () => {
  it('does nothing at all before the first look or call', () => {
    const touched = vi.fn(() => memoryStorage())
    const fetch = vi.fn()
    const lock = { request: vi.fn() }
    createSession({ resources: api, grant: async () => ({ access_token: 'x' }), storage: touched, fetch, lock })
    for (const each of [touched, fetch, lock.request]) expect(each).not.toHaveBeenCalled()
  })

  it('knows the state in that tick where the storage is synchronous', async () => {
    const world = createWorld()
    const first = world.context()
    await first.session.adopt(world.server.signIn())
    expect(world.context().session.state.status).toBe('signed-in')
    expect(createWorld().context().session.state).toEqual({ status: 'signed-out' })
  })

  it('gives the same state object until something changes, and a renewal changes it once', async () => {
    const world = createWorld()
    const { session } = world.context()
    await session.adopt(world.server.signIn())
    await settle()
    const seen = new Set([session.state])
    session.subscribe(() => seen.add(session.state))
    expect(session.state).toBe(session.state)
    world.clock.advance(301_000)
    await session.fetch(api)
    await settle()
    expect(seen.size).toBe(2)
  })
})

describe('while it starts', () => {
  it('calls wait, reads are shared, and ready resolves with the end of it', async () => {
    const { session, gate, reads } = await slow()
    const { ready } = session
    const calls = Promise.all([session.fetch(api), session.getAccessToken(), session.authorizationHeaders(api), ready])
    expect(session.state).toEqual({ status: 'starting' })
    gate.resolve()
    expect(await calls).toEqual([
      expect.any(Response),
      secret('access-1'),
      { Authorization: `Bearer ${secret('access-1')}` },
      undefined,
    ])
    expect(reads()).toBe(1)
  })

  it('a body of a Request is taken over in the caller’s own turn', async () => {
    const { session, gate } = await slow()
    const request = new Request(api, { method: 'POST', body: 'x' })
    const call = session.fetch(request)
    expect(request.bodyUsed).toBe(true)
    gate.resolve()
    expect((await call).status).toBe(200)
  })

  it('a caller’s signal ends its wait', async () => {
    const { session } = await slow()
    const controller = new AbortController()
    const call = session.fetch(api, { signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(call).rejects.toThrow('enough')
  })

  it('a sign-in beats what the start reads', async () => {
    const { session, gate, server, items, key } = await slow()
    void session.ready
    const adopted = session.adopt(server.signIn())
    expect(session.state.status).toBe('signed-in')
    gate.resolve()
    await adopted
    await settle()
    expect(await session.getAccessToken()).toBe(secret('access-2'))
    expect(items.get(key)).toContain(secret('refresh-2'))
  })

  it('a sign-out beats what the start reads, and what was stored is revoked', async () => {
    const { session, gate, items, key, revoked, context } = await slow()
    void session.ready
    const done = session.signOut()
    expect(session.state).toMatchObject({ status: 'signed-out' })
    gate.resolve()
    await done
    await settle()
    expect(items.get(key)).toContain('signedOut')
    expect(revoked).toEqual([secret('refresh-1')])
    expect(context().session.state.status).toBe('signed-out')
  })

  it('a call that began before a sign-out is never sent', async () => {
    const { session, gate, server } = await slow()
    const call = expect(session.fetch(api)).rejects.toMatchObject({ code: 'signed_out' })
    const done = session.signOut()
    gate.resolve()
    await Promise.all([call, done])
    expect(server.stats.apiCalls).toBe(0)
  })

  it('a call waits at most storageTimeoutMs, and ready goes on waiting', async () => {
    const { session, gate } = await slow()
    let isReady = false
    void session.ready.then(() => {
      isReady = true
    })
    const call = expect(session.fetch(api)).rejects.toMatchObject({ code: 'storage_unavailable' })
    await vi.advanceTimersByTimeAsync(5000)
    await call
    expect(isReady).toBe(false)
    gate.resolve()
    expect((await session.fetch(api)).status).toBe(200)
    await settle()
    expect(isReady).toBe(true)
  })
})

describe('getAccessToken', () => {
  it('renews for a minValidityMs that the token does not have, once, and never loops over a short life', async () => {
    const world = createWorld({ lifetimeSeconds: 30 })
    const { session } = world.context()
    await session.adopt(world.server.signIn())
    world.clock.advance(10_000)
    expect(await session.getAccessToken({ minValidityMs: 25_000 })).toBe(secret('access-2'))
    expect(await session.getAccessToken({ minValidityMs: 60_000 })).toBe(secret('access-2'))
    expect(await session.getAccessToken({ minValidityMs: 60_000 })).toBe(secret('access-2'))
    expect(world.spent).toHaveLength(1)
  })
})

describe('authorizationHeaders', () => {
  it('is empty outside of the resources, and asks nobody for it', async () => {
    const { session } = createWorld().context()
    expect(await session.authorizationHeaders('https://evil.test/')).toEqual({})
    await expect(session.authorizationHeaders(api)).rejects.toMatchObject({ code: 'signed_out' })
  })
})

describe('renew', () => {
  it('renews a token that still works, joins what is under way, and says how', async () => {
    const world = createWorld()
    const { session } = world.context()
    await session.adopt(world.server.signIn())
    const answers = await Promise.all([session.renew(), session.renew()])
    expect(answers).toEqual([{ how: 'renewed' }, { how: 'renewed' }])
    expect(world.spent).toHaveLength(1)
  })
})

describe('inside of the ahead window', () => {
  it('requests go out at once with the token at hand, and one renewal runs behind them', async () => {
    const world = createWorld()
    const { session, events } = world.context()
    await session.adopt(world.server.signIn())
    await settle()
    world.clock.advance(290_000)
    const answers = await Promise.all(Array.from({ length: 10 }, () => session.fetch(api)))
    await settle()
    expect(answers.every(({ status }) => status === 200)).toBe(true)
    expect(world.spent).toHaveLength(1)
    expect(events).toContain('renewed')
    expect(await session.getAccessToken()).toBe(secret('access-2'))
  })

  it('a renewal that fails behind them is nobody’s error', async () => {
    const world = createWorld()
    const { session } = world.context({ grant: () => Promise.reject(new Error('down')) })
    await session.adopt(world.server.signIn())
    await settle()
    world.clock.advance(290_000)
    for (let call = 0; call < 3; call++) {
      expect((await session.fetch(api)).status).toBe(200)
      await vi.advanceTimersByTimeAsync(1000)
    }
  })

  it('a stream waits for the renewal, since it can be sent once', async () => {
    const world = createWorld()
    const { session } = world.context()
    await session.adopt(world.server.signIn())
    await settle()
    world.clock.advance(290_000)
    world.server.expireAccess()
    const body = new Blob(['x']).stream()
    expect((await session.fetch(api, { method: 'POST', body })).status).toBe(200)
    expect(world.server.stats).toMatchObject({ renewals: 1, apiCalls: 1 })
  })
})

describe('a listener', () => {
  it.each([
    [
      'throws',
      () => {
        throw new Error('mine')
      },
    ],
    ['rejects', () => Promise.reject(new Error('mine'))],
    ['hangs', () => new Promise(() => undefined)],
  ])('that %s changes nothing', async (_what, listener) => {
    const report = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    const world = createWorld()
    const { session } = world.context()
    for (const type of ['signed-in', 'renewed', 'signed-out', 'request'] as const) session.on(type, listener)
    session.subscribe(listener)
    await session.adopt(world.server.signIn())
    world.clock.advance(301_000)
    expect((await session.fetch(api)).status).toBe(200)
    await session.signOut()
    report.mockRestore()
  })

  it('may call the session back: the lock is free by then', async () => {
    const world = createWorld()
    const { session } = world.context()
    const got: unknown[] = []
    session.on('renewed', async () => {
      got.push((await session.fetch(api)).status, await session.getAccessToken())
    })
    session.on('signed-out', async () => {
      got.push(await session.getAccessToken().catch(error => error.code))
    })
    await session.adopt(world.server.signIn())
    world.clock.advance(301_000)
    await session.fetch(api)
    await settle()
    await session.signOut()
    await settle()
    expect(got).toEqual([200, secret('access-2'), 'signed_out'])
  })
})

describe('a device that slept', () => {
  it('costs one renewal, however the clocks tell it', async () => {
    for (const sleep of ['advance', 'advanceWall'] as const) {
      const world = createWorld()
      const { session } = world.context()
      await session.adopt(world.server.signIn())
      world.clock[sleep](8 * 3_600_000)
      const answers = await Promise.all(Array.from({ length: 20 }, () => session.fetch(api)))
      expect(answers.every(({ status }) => status === 200)).toBe(true)
      expect(world.spent).toHaveLength(1)
    }
  })

  it('or whose clock was set back by an hour goes on', async () => {
    const world = createWorld()
    const { session } = world.context()
    await session.adopt(world.server.signIn())
    world.clock.advanceWall(-3_600_000)
    expect((await session.fetch(api)).status).toBe(200)
    world.clock.advance(301_000)
    expect((await session.fetch(api)).status).toBe(200)
    expect(world.spent).toHaveLength(1)
  })
})

it('a call that waits for the first read takes what another session object of the realm tells meanwhile', async () => {
  const items = new Map<string, string>()
  let gate: Promise<void> | undefined
  const storage = {
    getItem: async (key: string) => items.get(key),
    async setItem(key: string, value: string) {
      if (value.includes(secret('new'))) await gate
      items.set(key, value)
    },
    removeItem: async (key: string) => void items.delete(key),
  }
  const sent: (string | null)[] = []
  const make = () =>
    createSession({
      resources: 'https://api.example.com',
      storage,
      grant: async () => ({ access_token: secret('new'), refresh_token: secret('r2'), expires_in: 300 }),
      fetch: async (_input, init) => {
        sent.push(new Headers(init?.headers).get('authorization'))
        return new Response()
      },
    })
  const first = make()
  await first.adopt({ access_token: secret('old'), refresh_token: secret('r1'), expires_in: 300 })
  await settle()
  const saving = deferred()
  gate = saving.promise
  const renewal = first.renew()
  await settle()
  // Its read waits for the write, and the news of that come before the read.
  const call = make().fetch('https://api.example.com/')
  saving.resolve()
  await renewal
  expect((await call).status).toBe(200)
  expect(sent).toEqual([`Bearer ${secret('new')}`])
})
