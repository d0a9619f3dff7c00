import { afterEach, describe, expect, it, vi } from 'vitest'
import { tieToKey } from '../../src/attach/tied-to-key.ts'
import {
  type Attach,
  createSession,
  type Grant,
  memoryStorage,
  type SessionOptions,
  type TokenStorage,
} from '../../src/index.ts'
import type { TokenBinding } from '../../src/ports/dpop.ts'
import { deferred, settle } from '../engine/contexts-fakes.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

afterEach(() => vi.unstubAllGlobals())

const resources = 'https://api.example.com'
const response = (name = 'a') => ({ access_token: secret(name), refresh_token: secret(`r-${name}`), expires_in: 60 })

function setUp(options: Partial<SessionOptions<void>> = {}) {
  const clock = createClock()
  const session = createSession<void>({ resources, grant: async () => response('renewed'), clock, ...options })
  return { session, clock }
}

describe('ready', () => {
  it('is there at once where the storage is, else once it has answered', async () => {
    await setUp().session.ready
    const read = deferred<string | null>()
    const { session } = setUp({ storage: { ...memoryStorage(), getItem: () => read.promise } })
    const told: string[] = []
    void session.ready.then(() => told.push(session.state.status))
    void session.ready.then(() => told.push(session.state.status))
    await settle()
    expect(told).toEqual([])
    expect(session.state).toEqual({ status: 'starting' })
    read.resolve(null)
    await settle()
    expect(told).toEqual(['signed-out', 'signed-out'])
  })

  it('waits through a start that failed', async () => {
    let isDown = true
    const storage: TokenStorage = {
      ...memoryStorage(),
      getItem() {
        if (isDown) throw new Error('locked')
        return null
      },
    }
    const { session } = setUp({ storage })
    let isReady = false
    void session.ready.then(() => {
      isReady = true
    })
    await settle()
    expect([isReady, session.state.status]).toEqual([false, 'starting'])
    isDown = false
    await expect(session.getAccessToken()).rejects.toMatchObject({ code: 'signed_out' })
    await settle()
    expect(isReady).toBe(true)
  })

  it('is told of a view as of its session, with the state of both', async () => {
    const { session } = setUp()
    const view = session.for({ scope: 'read' })
    await view.ready
    expect(view.state).toBe(session.state)
    expect(session.serverState).toEqual({ status: 'starting' })
    expect(view.serverState).toBe(session.serverState)
    expect(session.serverState).toBe(session.serverState)
    for (const name of ['subscribe', 'on', 'signOut', 'completeSignIn', 'for'] as const)
      expect(view[name]).toBe(session[name])
  })
})

describe('authorizationHeaders', () => {
  it('are those of the attach, for the method and the URL that were named', async () => {
    const attach = vi.fn(() => ({ 'x-key': 'value' }))
    const { session } = setUp({ attach })
    await session.adopt(response())
    expect(await session.authorizationHeaders(`${resources}/a`)).toEqual({ 'x-key': 'value' })
    expect(await session.authorizationHeaders(new URL(`${resources}/b`), { method: 'PUT' })).toEqual({
      'x-key': 'value',
    })
    expect(attach.mock.calls.map(([request]: unknown[]) => request)).toEqual([
      { method: 'GET', url: `${resources}/a` },
      { method: 'PUT', url: `${resources}/b` },
    ])
  })

  it('are none outside the resources, whoever is signed in, and for a view outside of its own', async () => {
    const { session } = setUp()
    expect(await session.authorizationHeaders('https://evil.test/')).toEqual({})
    await session.adopt(response())
    const view = session.for({ resource: `${resources}/v1` })
    expect(await view.authorizationHeaders(`${resources}/v2`)).toEqual({})
    expect(await view.authorizationHeaders(`${resources}/v1`)).toEqual({ Authorization: `Bearer ${secret('renewed')}` })
    const scoped = session.for({ scope: 'read' })
    expect(Object.keys(await scoped.authorizationHeaders(`${resources}/v2`))).toEqual(['Authorization'])
    expect(await scoped.authorizationHeaders('https://evil.test/')).toEqual({})
  })

  it('wait no longer than their caller', async () => {
    const { session, clock } = setUp({ grant: () => new Promise(() => undefined) })
    await session.adopt(response())
    clock.advance(61_000)
    const reason = new Error('own reason')
    const abort = new AbortController()
    const calls = [
      session.authorizationHeaders(`${resources}/`, { signal: abort.signal }),
      session.getAccessToken({ signal: abort.signal }),
      session.renew({ signal: abort.signal }),
    ]
    const told = Promise.all(calls.map(call => expect(call).rejects.toBe(reason)))
    abort.abort(reason)
    await told
    await expect(session.renew({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })
})

describe('renew', () => {
  it('tells how, and renews a token that is fresh', async () => {
    const { session } = setUp()
    await session.adopt(response())
    expect(await session.renew()).toEqual({ how: 'renewed' })
    expect(await session.getAccessToken()).toBe(secret('renewed'))
  })

  it('rejects with an error of its own for each who asked', async () => {
    const { session } = setUp({ grant: () => Promise.reject({ status: 400, error: 'invalid_grant' }) })
    await session.adopt(response())
    const [one, other] = await Promise.allSettled([session.renew(), session.renew()])
    expect(one).toMatchObject({ status: 'rejected', reason: { code: 'signed_out' } })
    expect(one).not.toBe(other)
    expect((one as PromiseRejectedResult).reason).not.toBe((other as PromiseRejectedResult).reason)
  })
})

describe('the fetch underneath', () => {
  it('is called as a plain function, with both of its arguments', async () => {
    const seen: unknown[] = []
    const own = async function (this: unknown, ...given: unknown[]) {
      seen.push([this, ...given])
      return new Response()
    }
    const { session } = setUp({ fetch: own as typeof fetch })
    await session.fetch('https://other.example.com/', { method: 'PUT' })
    expect(seen).toEqual([[undefined, 'https://other.example.com/', { method: 'PUT' }]])
  })

  it('is the global one by default, looked up at each call', async () => {
    const { session } = setUp()
    const patched = vi.fn(async () => new Response('patched'))
    vi.stubGlobal('fetch', patched)
    expect(await (await session.fetch('https://other.example.com/', { method: 'PUT' })).text()).toBe('patched')
    expect(patched).toHaveBeenCalledWith('https://other.example.com/', { method: 'PUT' })
  })
})

describe('what a grant gets', () => {
  it('is the raw fetch, a signal, the time, the attach and the least interval', async () => {
    const attach = () => ({ a: 'b' })
    const grant = vi.fn(async (..._given: unknown[]) => response('renewed'))
    const own = vi.fn(async () => new Response('raw'))
    const { session, clock } = setUp({ grant, attach, fetch: own, renewal: { minIntervalMs: 77 } })
    await session.adopt(response())
    await session.renew()
    const context = grant.mock.calls[0]?.[1] as {
      fetch: typeof fetch
      signal: AbortSignal
      nowMs(): number
      attach: unknown
      minIntervalMs: number
    }
    expect(context).toMatchObject({ attach, minIntervalMs: 77 })
    expect(context.signal.aborted).toBe(false)
    expect(context.nowMs()).toBe(clock.now())
    expect(await (await context.fetch(resources)).text()).toBe('raw')
  })

  it('its own attach is used where the session names none, else the session’s', async () => {
    const grant: Grant<void> = { renew: async () => response(), attach: () => ({ 'x-own': '1' }) }
    const headers = async (options: object) => {
      const { session } = setUp({ grant, ...options })
      await session.adopt(response())
      return session.authorizationHeaders(resources)
    }
    expect(await headers({})).toEqual({ 'x-own': '1' })
    expect(await headers({ attach: () => ({ 'x-named': '1' }) })).toEqual({ 'x-named': '1' })
    expect(await headers({ grant: { renew: async () => response() } })).toEqual({
      Authorization: `Bearer ${secret('a')}`,
    })
  })

  it('calls of its own session say what to use instead, and those of others are not meant', async () => {
    let call: () => Promise<unknown> = async () => undefined
    const { session } = setUp({
      grant: async () => {
        await call()
        return response('renewed')
      },
    })
    const { session: other } = setUp()
    await other.adopt(response('other'))
    await session.adopt(response())
    call = () => session.adopt(response())
    const failure = await session.renew().catch(error => error)
    expect(failure.cause).toMatchObject({ code: 'reentrant', message: expect.stringContaining('Use the fetch') })
    // Later too, where it hands on the signal that it was given.
    const { session: third } = setUp({
      grant: async (_tokens, { signal }) => {
        await settle()
        await third.fetch(resources, { signal })
        return response('renewed')
      },
    })
    await third.adopt(response())
    expect((await third.renew().catch(error => error)).cause).toMatchObject({ code: 'reentrant' })
    // Asked for something else, a grant may well use another session.
    const { session: next } = setUp({
      grant: async () => response(await other.getAccessToken()),
    })
    await next.adopt(response())
    expect(await next.renew()).toEqual({ how: 'renewed' })
  })
})

describe('signOut', () => {
  const build = (more: Partial<Grant<void>> = {}) => {
    const revoke = vi.fn(async (..._given: unknown[]) => undefined)
    const endSession = vi.fn(async (..._given: unknown[]) => undefined)
    const grant: Grant<void> = { renew: async () => response('renewed'), revoke, endSession, ...more }
    return { ...setUp({ grant }), revoke, endSession }
  }

  it('revokes the tokens at the server, unless told otherwise', async () => {
    const { session, revoke, endSession } = build()
    await session.adopt(response('first'))
    await session.signOut()
    expect(revoke.mock.calls.map(([tokens]) => tokens)).toMatchObject([{ refreshToken: secret('r-first') }])
    expect(revoke.mock.calls[0]?.[1]).toMatchObject({ minIntervalMs: 5000 })
    await session.adopt(response('second'))
    await session.signOut({ revoke: false })
    await session.adopt(response('third'))
    await session.signOut({})
    await session.signOut() // nobody is there
    expect(revoke).toHaveBeenCalledTimes(2)
    expect(endSession).not.toHaveBeenCalled()
  })

  it('is over whatever the server says', async () => {
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    const throws = () => {
      throw new Error('down')
    }
    for (const revoke of [() => Promise.reject(new Error('down')), throws, () => undefined as never]) {
      const { session } = build({ revoke })
      await session.adopt(response())
      await expect(session.signOut()).resolves.toBeUndefined()
    }
    await new Promise(setImmediate)
    process.off('unhandledRejection', unhandled)
    expect(unhandled).not.toHaveBeenCalled()
  })

  it('ends the user’s session at the server where that is asked for, with or without a revocation', async () => {
    const { session, revoke, endSession } = build()
    const options = { postLogoutRedirectUri: 'https://app.example.com/' }
    await session.signOut({ endSession: options })
    expect(endSession).not.toHaveBeenCalled()
    await session.adopt(response())
    await session.signOut({ revoke: false, endSession: options })
    expect(endSession.mock.calls[0]?.slice(0, 2)).toMatchObject([{ accessToken: secret('a') }, options])
    expect(revoke).not.toHaveBeenCalled()
  })

  it('without endSession in the grant, or revoke, there is nothing more to do', async () => {
    const { session } = setUp()
    await session.adopt(response())
    await expect(session.signOut({ endSession: {} })).resolves.toBeUndefined()
  })

  it.each([true, false])('a pair that arrives later is revoked as the sign-out said: %s', async isRevoking => {
    const answer = deferred<object>()
    const { session, revoke } = build({ renew: () => answer.promise as never })
    await session.adopt(response())
    const renewing = session.renew().catch(error => error)
    await settle()
    await session.signOut({ revoke: isRevoking })
    answer.resolve(response('late'))
    await renewing
    await settle()
    const revoked = revoke.mock.calls.map(([tokens]) => (tokens as { refreshToken: string }).refreshToken)
    expect(revoked).toEqual(isRevoking ? [secret('r-a'), secret('r-late')] : [])
  })

  it('a pair that arrives for a sign-in that was replaced is not', async () => {
    const answer = deferred<object>()
    const { session, revoke } = build({ renew: () => answer.promise as never })
    await session.adopt(response())
    const renewing = session.renew().catch(error => error)
    await settle()
    await session.adopt(response('b'))
    answer.resolve(response('late'))
    await renewing
    await settle()
    expect(revoke).not.toHaveBeenCalled()
  })
})

describe('a key that tokens are bound to', () => {
  function keyed(thumbprint: () => Promise<string>): Attach {
    const attach: Attach = async () => ({ a: 'b' })
    const tie: TokenBinding['tie'] = (grant, onLost) => tieToKey(grant, attach, thumbprint, onLost)
    return Object.assign(attach, { tie })
  }

  it('that is gone at the start ends the session before anything is sent', async () => {
    const storage = memoryStorage()
    let name = 'key'
    const options = { storage, attach: keyed(async () => name) }
    const { session } = setUp(options)
    await session.adopt({ ...response(), token_type: 'DPoP' })
    name = 'another'
    const { session: later } = setUp(options)
    expect(later.state.status).toBe('signed-in')
    await settle()
    expect(later.state).toEqual({ status: 'signed-out', reason: 'key_lost' })
  })

  it('there is none where the attach has none', async () => {
    const storage = memoryStorage()
    const { session } = setUp({ storage, name: 'test', attach: async () => ({ a: 'b' }) })
    await session.adopt({ ...response(), token_type: 'DPoP' })
    const { tokens } = JSON.parse(String(await storage.getItem('latchkey:test')))
    expect(tokens).toMatchObject({ tokenType: 'DPoP' })
    expect(tokens).not.toHaveProperty('jkt')
    expect(await session.authorizationHeaders(resources)).toEqual({ a: 'b' })
  })

  it('is not asked after at the start where the attach has none', async () => {
    const storage = memoryStorage()
    await setUp({ storage, attach: keyed(async () => 'key') }).session.adopt({ ...response(), token_type: 'DPoP' })
    const { session } = setUp({ storage, attach: async () => ({ a: 'b' }) })
    expect(session.state.status).toBe('signed-in')
    expect(await session.authorizationHeaders(resources)).toEqual({ a: 'b' })
  })

  it('that can not be read now is no loss', async () => {
    const storage = memoryStorage()
    const { session } = setUp({ storage, attach: keyed(async () => 'key') })
    await session.adopt({ ...response(), token_type: 'DPoP' })
    const { session: later } = setUp({ storage, attach: keyed(() => Promise.reject(new Error('locked'))) })
    await later.ready
    await settle()
    expect(later.state.status).toBe('signed-in')
  })

  it('that is gone, where the session has ended meanwhile, is no other error', async () => {
    const check = deferred<string>()
    let isChecking = false
    const { session } = setUp({ attach: keyed(async () => (isChecking ? check.promise : 'key')) })
    await session.adopt({ ...response(), token_type: 'DPoP' })
    isChecking = true
    const headers = session.authorizationHeaders(resources)
    await settle()
    await session.signOut()
    check.resolve('another')
    await expect(headers).rejects.toMatchObject({ code: 'signed_out', message: expect.stringContaining('requested') })
    expect(session.state).toEqual({ status: 'signed-out', reason: 'requested' })
  })

  it('of a sign-in that was replaced meanwhile ends nothing of the next', async () => {
    const prints = ['key-1', 'key-2']
    const check = deferred<string>()
    let isChecking = false
    const { session } = setUp({
      attach: keyed(async () => (isChecking ? check.promise : (prints.shift() ?? 'key-2'))),
    })
    await session.adopt({ ...response('one'), token_type: 'DPoP' })
    isChecking = true
    const headers = session.authorizationHeaders(resources)
    await settle()
    isChecking = false
    await session.adopt({ ...response('two'), token_type: 'DPoP' })
    check.resolve('key-2')
    await expect(headers).rejects.toMatchObject({ code: 'signed_out' })
    expect(session.state.status).toBe('signed-in')
  })
})
