import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { TokenResponse, TokenStorage } from '../../src/index.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { createWorld, deferred, settle } from './contexts-fakes.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function caught(call: Promise<unknown>): Promise<{ value?: unknown; error?: unknown }> {
  return call.then(
    value => ({ value }),
    error => ({ error }),
  )
}

/** A session whose renewals end when the test says so. */
async function setUp(makeStorage?: (world: ReturnType<typeof createWorld>) => TokenStorage) {
  const world = createWorld()
  const calls: {
    signal: AbortSignal
    spent: string | undefined
    answer: ReturnType<typeof deferred<TokenResponse>>
  }[] = []
  const grant = {
    ...world.grant,
    renew(tokens: { refreshToken?: string }, { signal }: { signal: AbortSignal }) {
      const answer = deferred<TokenResponse>()
      calls.push({ signal, spent: tokens.refreshToken, answer })
      return answer.promise
    },
  }
  const context = world.context({ grant, ...(makeStorage && { storage: makeStorage(world) }) })
  await context.session.adopt(world.server.signIn())
  await settle()
  world.clock.advance(301_000)
  const late = { access_token: secret('late'), refresh_token: secret('late-refresh'), expires_in: 300 }
  const stored = () => world.items.get(world.key) ?? ''
  const pass = async (ms: number) => {
    world.clock.advance(ms)
    await vi.advanceTimersByTimeAsync(ms)
  }
  return { ...world, ...context, calls, late, stored, pass, grant }
}

describe('a grant that hangs', () => {
  it('is unreachable at timeoutMs for everybody, with its signal aborted, and the session is kept', async () => {
    const { session, calls, pass } = await setUp()
    const waiting = Array.from({ length: 3 }, () => caught(session.fetch(api)))
    await pass(29_999)
    expect(calls[0]?.signal.aborted).toBe(false)
    await pass(1)
    for (const { error } of await Promise.all(waiting)) expect(error).toMatchObject({ code: 'unreachable' })
    expect(calls[0]?.signal.aborted).toBe(true)
    expect(session.state.status).toBe('signed-in')
    expect(calls).toHaveLength(1)
  })

  it('and answers after its time, on the stored generation, is committed and saved', async () => {
    const { session, calls, pass, late, stored, events } = await setUp()
    const call = caught(session.fetch(api))
    await pass(30_000)
    await call
    await pass(10_000)
    calls[0]?.answer.resolve(late)
    await settle()
    expect(stored()).toContain(secret('late-refresh'))
    expect(events).toContain('renewed')
    expect(await session.getAccessToken()).toBe(secret('late'))
    expect(calls).toHaveLength(1)
  })

  it('keeps the place until twice its time: nobody sends the refresh token again before', async () => {
    const { session, calls, pass } = await setUp()
    const first = caught(session.fetch(api))
    await pass(30_000)
    await first
    await pass(25_000)
    const second = caught(session.fetch(api))
    await settle()
    expect(calls).toHaveLength(1)
    await pass(6000)
    await second
    const third = caught(session.fetch(api))
    await pass(60_000)
    await third
    expect(calls.length).toBeGreaterThanOrEqual(2)
  })

  it('and answers after it was held for dead is judged by what is stored: a successor stands', async () => {
    const { session, calls, pass, late, stored, revoked } = await setUp()
    const first = caught(session.fetch(api))
    await pass(61_000)
    await first
    await pass(61_000)
    const second = caught(session.fetch(api))
    await settle()
    expect(calls).toHaveLength(2)
    calls[1]?.answer.resolve({ access_token: secret('successor'), refresh_token: secret('newest'), expires_in: 3000 })
    await settle()
    expect((await second).value).toBeDefined()
    calls[0]?.answer.resolve(late)
    await pass(1000)
    expect(stored()).toContain(secret('newest'))
    expect(await session.getAccessToken()).toBe(secret('successor'))
    expect(revoked).toEqual([])
  })

  it('and answers after it was held for dead is taken where nothing came since', async () => {
    const { session, calls, pass, late, stored } = await setUp()
    const first = caught(session.fetch(api))
    await pass(61_000)
    await first
    calls[0]?.answer.resolve(late)
    await pass(1000)
    expect(stored()).toContain(secret('late-refresh'))
    expect(await session.getAccessToken()).toBe(secret('late'))
  })
})

describe('a sign-out during a renewal', () => {
  it('rejects who waits at once, revokes the pair that comes late, and nothing comes back', async () => {
    const { session, calls, late, stored, revoked, pass, context } = await setUp()
    const call = caught(session.fetch(api))
    await settle()
    expect(calls).toHaveLength(1)
    const done = session.signOut()
    expect(session.state).toEqual({ status: 'signed-out', reason: 'requested' })
    expect((await call).error).toMatchObject({ code: 'signed_out' })
    await done
    calls[0]?.answer.resolve(late)
    await pass(1000)
    expect(revoked).toEqual([secret('refresh-1'), secret('late-refresh')])
    expect(stored()).toContain('signedOut')
    expect(stored()).not.toContain(secret('late'))
    expect(session.state.status).toBe('signed-out')
    const reloaded = context()
    await reloaded.session.ready
    expect(reloaded.session.state.status).toBe('signed-out')
  })

  it('without revocation revokes nothing later either', async () => {
    const { session, calls, late, revoked, pass } = await setUp()
    void caught(session.fetch(api))
    await settle()
    await session.signOut({ revoke: false })
    calls[0]?.answer.resolve(late)
    await pass(1000)
    expect(revoked).toEqual([])
  })

  it('in another context revokes the late pair as well', async () => {
    const { session, calls, late, stored, revoked, pass, context } = await setUp()
    const other = context()
    await other.session.ready
    const call = caught(session.fetch(api))
    await settle()
    await other.session.signOut()
    await settle()
    expect((await call).error).toMatchObject({ code: 'signed_out' })
    calls[0]?.answer.resolve(late)
    await pass(2000)
    expect(revoked).toContain(secret('late-refresh'))
    expect(stored()).toContain('signedOut')
    expect(session.state.status).toBe('signed-out')
  })

  it('in another context, whose news did not arrive, stands when the answer comes', async () => {
    const { session, calls, late, stored, pass, context, channel, revoked } = await setUp()
    const other = context()
    await other.session.ready
    channel.freeze()
    const call = caught(session.fetch(api))
    await settle()
    await other.session.signOut()
    calls[0]?.answer.resolve(late)
    await pass(2000)
    expect((await call).error).toMatchObject({ code: 'signed_out' })
    expect(session.state).toEqual({ status: 'signed-out', reason: 'elsewhere' })
    expect(stored()).toContain('signedOut')
    expect(stored()).not.toContain(secret('late'))
    expect(revoked).toContain(secret('late-refresh'))
  })

  it('followed by another sign-in: the late pair is not the new user’s, and is not revoked twice', async () => {
    const { session, calls, late, stored, pass, server } = await setUp()
    const call = caught(session.fetch(api))
    await settle()
    await session.signOut()
    await session.adopt(server.signIn())
    calls[0]?.answer.resolve(late)
    await pass(1000)
    expect((await call).error).toMatchObject({ code: 'signed_out' })
    expect(stored()).toContain(secret('refresh-2'))
    expect(await session.getAccessToken()).toBe(secret('access-2'))
  })
})

describe('another sign-in during a renewal', () => {
  it('drops the late pair and revokes nothing', async () => {
    const { session, calls, late, stored, pass, server, revoked, events } = await setUp()
    const call = caught(session.fetch(api))
    await settle()
    await session.adopt(server.signIn())
    expect((await call).error).toMatchObject({ code: 'signed_out' })
    calls[0]?.answer.resolve(late)
    await pass(1000)
    expect(stored()).toContain(secret('refresh-2'))
    expect(revoked).toEqual([])
    expect(events).toContain('signed-out replaced')
    expect((await session.fetch(api)).status).toBe(200)
  })
})

describe('dispose during a renewal', () => {
  it('lets it commit: the refresh token is spent already', async () => {
    const { session, calls, late, stored, pass } = await setUp()
    void caught(session.fetch(api))
    await settle()
    session.dispose()
    calls[0]?.answer.resolve(late)
    await pass(1000)
    expect(stored()).toContain(secret('late-refresh'))
    await expect(session.fetch(api)).rejects.toMatchObject({ code: 'disposed' })
  })
})

describe('a refusal', () => {
  it('of a token that somebody else has just spent is no end: the successor is adopted', async () => {
    const { session, calls, pass, context, channel, server } = await setUp()
    const other = context({ lock: { request: async (_name, _options, callback) => callback({}) } })
    await other.session.ready
    channel.freeze()
    const call = caught(session.fetch(api))
    await settle()
    await other.session.renew()
    calls[0]?.answer.reject(Response.json({ error: 'invalid_grant' }, { status: 400 }))
    await pass(2000)
    expect((await call).value).toMatchObject({ status: 200 })
    expect(session.state.status).toBe('signed-in')
    expect(server.stats.renewals).toBe(1)
  })

  it('of a token whose successor only another context has is no end either: it is asked for', async () => {
    const world = createWorld()
    let writes = 0
    const setItem = (key: string, value: string) => {
      // The sign-in and the attempt are saved, the successor is not.
      if (++writes > 2) throw new Error('full')
      world.items.set(key, value)
    }
    const holder = world.context({ storage: world.storage(world.items, { setItem }) })
    await holder.session.adopt(world.server.signIn())
    await settle()
    world.clock.advance(301_000)
    await holder.session.renew()
    expect(world.items.get(world.key)).toContain(secret('refresh-1'))
    const newcomer = world.context({
      grant: () => Promise.reject(Response.json({ error: 'invalid_grant' }, { status: 400 })),
    })
    const call = caught(newcomer.session.fetch(api))
    await vi.advanceTimersByTimeAsync(2000)
    expect((await call).value).toMatchObject({ status: 200 })
    expect(newcomer.session.state.status).toBe('signed-in')
  })

  it('while the access token still works ends nothing before that is over', async () => {
    const { session, clock, calls, pass, server, stored } = await setUp()
    await session.adopt(server.signIn())
    clock.advance(290_000)
    expect((await session.fetch(api)).status).toBe(200)
    await settle()
    calls.at(-1)?.answer.reject(Response.json({ error: 'invalid_grant' }, { status: 400 }))
    await pass(2000)
    expect((await session.fetch(api)).status).toBe(200)
    expect(session.state.status).toBe('signed-in')
    expect(stored()).not.toContain(secret('refresh-2'))
    clock.advance(20_000)
    expect((await caught(session.fetch(api))).error).toMatchObject({ code: 'signed_out' })
    expect(session.state).toEqual({ status: 'signed-out', reason: 'refused' })
  })
})
