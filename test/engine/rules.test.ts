import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession, memoryStorage, type TokenResponse } from '../../src/index.ts'
import { api, createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { createWorld, deferred, settle } from './contexts-fakes.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const fetch = async () => new Response('ok')
const statusOrCode = (call: Promise<Response>) =>
  call.then(
    ({ status }) => status,
    error => error.code,
  )

describe('two session objects on one storage object', () => {
  function pair() {
    const clock = createClock()
    const storage = memoryStorage()
    const gate = deferred()
    const stats = { renewals: 0, revoked: [] as (string | undefined)[] }
    const make = () =>
      createSession<void>({
        resources: api,
        storage,
        clock,
        fetch,
        grant: {
          async renew() {
            stats.renewals++
            await gate.promise
            return { access_token: secret('new'), refresh_token: secret('new-refresh'), expires_in: 60 }
          },
          revoke: async tokens => void stats.revoked.push(tokens.refreshToken),
        },
      })
    const response = { access_token: secret('a'), refresh_token: secret('refresh'), expires_in: 60 }
    return { a: make(), b: make(), clock, gate, stats, response }
  }

  it('share one flight, also where the one that began it is disposed', async () => {
    const { a, b, clock, gate, stats, response } = pair()
    await a.adopt(response)
    await b.ready
    clock.advance(61_000)
    const calls = [statusOrCode(a.fetch(api)), statusOrCode(b.fetch(api))]
    await settle()
    a.dispose()
    gate.resolve()
    expect(await calls[1]).toBe(200)
    expect(stats.renewals).toBe(1)
  })

  it('end together: the sign-out of one ends the flight of the other, and the late pair is revoked', async () => {
    const { a, b, clock, gate, stats, response } = pair()
    await a.adopt(response)
    await b.ready
    clock.advance(61_000)
    const call = statusOrCode(a.fetch(api))
    await settle()
    await b.signOut()
    expect(a.state.status).toBe('signed-out')
    expect(await call).toBe('signed_out')
    gate.resolve()
    await vi.advanceTimersByTimeAsync(3000)
    expect(stats.revoked).toEqual([secret('refresh'), secret('new-refresh')])
    expect([a.state.status, b.state.status]).toEqual(['signed-out', 'signed-out'])
  })
})

describe('a sign-in', () => {
  const grant = (answer: Promise<TokenResponse>) => ({ signIn: (_input: object) => answer })

  it('that a sign-out overtakes is cancelled, and its late tokens sign nobody in', async () => {
    const answer = deferred<TokenResponse>()
    const session = createSession({ resources: api, grant: grant(answer.promise), fetch })
    const call = expect(session.signIn({})).rejects.toMatchObject({ code: 'sign_in_cancelled' })
    await session.signOut()
    answer.resolve({ access_token: secret('late') })
    await call
    await settle()
    expect(session.state.status).toBe('signed-out')
  })

  it('whose own signal aborts rejects with its reason and changes nothing', async () => {
    const session = createSession({ resources: api, grant: grant(new Promise(() => undefined)), fetch })
    const controller = new AbortController()
    const call = session.signIn({ signal: controller.signal })
    const reason = new Error('the user closed the dialog')
    controller.abort(reason)
    await expect(call).rejects.toBe(reason)
    expect(session.state.status).toBe('signed-out')
  })

  it('ends with dispose, after which every call rejects disposed', async () => {
    const session = createSession({ resources: api, grant: grant(new Promise(() => undefined)), fetch })
    const call = expect(session.signIn({})).rejects.toMatchObject({ name: 'SessionError' })
    session.dispose()
    await call
    const calls: (() => Promise<unknown>)[] = [
      () => session.signIn({}),
      () => session.adopt({ access_token: secret('a') }),
      () => session.signOut(),
      () => session.renew(),
      () => session.getAccessToken(),
      () => session.authorizationHeaders(api),
      () => session.fetch(api),
    ]
    for (const act of calls) await expect(act()).rejects.toMatchObject({ code: 'disposed' })
  })
})

describe('a caller that is gone already', () => {
  it('gets its own reason, and no refresh token is spent for it', async () => {
    const { session, ...world } = withContext()
    await session.adopt(world.server.signIn())
    world.clock.advance(301_000)
    const reason = new Error('gone')
    const signal = AbortSignal.abort(reason)
    await expect(session.getAccessToken({ signal })).rejects.toBe(reason)
    await expect(session.renew({ signal })).rejects.toBe(reason)
    await expect(session.authorizationHeaders(api, { signal })).rejects.toBe(reason)
    await settle()
    expect(world.spent).toEqual([])
  })
})

describe('what is not the session’s', () => {
  it('a caller’s own Authorization goes out as it is, and its 401 is the caller’s', async () => {
    const { session, ...world } = withContext()
    await session.adopt(world.server.signIn())
    world.clock.advance(10_000)
    expect((await session.fetch(api, { headers: { authorization: 'Basic x' } })).status).toBe(401)
    expect(world.spent).toEqual([])
  })

  it('goes out without a token where nobody is signed in and the app wants it so', async () => {
    const { session, ...world } = withContext({ whenSignedOut: 'send-anonymously' })
    expect((await session.fetch(api)).status).toBe(401)
    expect(world.server.stats.apiCalls).toBe(1)
  })
})

describe('a storage', () => {
  it('that prompts is read once, and a late answer serves the calls that join it', async () => {
    const world = createWorld()
    const first = world.context()
    await first.session.adopt(world.server.signIn())
    await settle()
    first.session.dispose()
    let reads = 0
    const prompt = deferred()
    const storage = world.storage(world.items, {
      interactive: true,
      getItem: async key => {
        reads++
        await prompt.promise
        return world.items.get(key)
      },
    })
    const { session } = world.context({ storage })
    const early = statusOrCode(session.fetch(api))
    await vi.advanceTimersByTimeAsync(5000)
    expect(await early).toBe('storage_unavailable')
    const late = statusOrCode(session.fetch(api))
    prompt.resolve()
    expect(await late).toBe(200)
    world.clock.advance(301_000)
    expect((await session.fetch(api)).status).toBe(200)
    expect(reads).toBe(1)
    expect(world.items.get(world.key)).toContain(secret('refresh-2'))
  })

  it('that can not save is read anew, and what somebody else renewed is adopted', async () => {
    const world = createWorld()
    const writer = world.context()
    await writer.session.adopt(world.server.signIn())
    await settle()
    const reader = world.context({ storage: world.storage(world.items, { readOnly: true }) })
    await reader.session.ready
    reader.channel.freeze()
    world.clock.advance(301_000)
    await writer.session.renew()
    expect((await reader.session.fetch(api)).status).toBe(200)
    expect(world.spent).toHaveLength(1)
  })

  it('whose item is seen to be removed means a sign-out elsewhere', async () => {
    const world = createWorld()
    let tell: () => void = () => undefined
    const watch = (_key: string, listener: () => void) => {
      tell = listener
      return () => undefined
    }
    const { session } = world.context({ storage: world.storage(world.items, { watch }) })
    await session.adopt(world.server.signIn())
    await settle()
    world.items.delete(world.key)
    tell()
    await settle()
    expect(session.state).toEqual({ status: 'signed-out', reason: 'elsewhere' })
  })

  it('that can not keep a sign-out loses the item instead, so that no reload brings the session back', async () => {
    const world = createWorld()
    let isFull = false
    const setItem = (key: string, value: string) => {
      if (isFull) throw new Error('full')
      world.items.set(key, value)
    }
    const { session, events } = world.context({ storage: world.storage(world.items, { setItem }) })
    await session.adopt(world.server.signIn())
    await settle()
    isFull = true
    await session.signOut()
    expect(world.items.has(world.key)).toBe(false)
    expect(events).toContain('storage-failed')
  })
})

describe('the end of a token that nothing can renew', () => {
  it('is the end of the session, with the reason expired', async () => {
    const { session, ...world } = withContext({ grant: { revoke: async () => undefined } })
    await session.adopt({ access_token: secret('a'), expires_in: 60 })
    expect((await session.getAccessToken()).length).toBeGreaterThan(0)
    world.clock.advance(61_000)
    await expect(session.fetch(api)).rejects.toMatchObject({ code: 'signed_out', signInRequired: true })
    expect(session.state).toEqual({ status: 'signed-out', reason: 'expired' })
  })
})

describe('the back-off', () => {
  it('ends with a wake', async () => {
    let wake: () => void = () => undefined
    let asked = 0
    const { session, ...world } = withContext({
      wake: listener => {
        wake = listener
        return () => undefined
      },
      grant: () => {
        asked++
        return Promise.reject(new Response(null, { status: 503, headers: { 'retry-after': '3000' } }))
      },
    })
    await session.adopt(world.server.signIn())
    world.clock.advance(301_000)
    expect(await statusOrCode(session.fetch(api))).toBe('unreachable')
    expect(await statusOrCode(session.fetch(api))).toBe('unreachable')
    expect(asked).toBe(1)
    wake()
    expect(await statusOrCode(session.fetch(api))).toBe('unreachable')
    expect(asked).toBe(2)
  })
})

function withContext(options: Parameters<ReturnType<typeof createWorld>['context']>[0] = {}) {
  const world = createWorld()
  return { ...world, ...world.context(options) }
}
