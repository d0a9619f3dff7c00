import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  createSession,
  type Grant,
  type GrantContext,
  type Lock,
  memoryStorage,
  refused,
  type SessionOptions,
  type TokenStorage,
} from '../../src/index.ts'
import { memoryLock } from '../../src/locks/memory.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { deferred, settle } from './contexts-fakes.ts'

afterEach(() => void vi.useRealTimers())

const response = (name = 'a') => ({ access_token: secret(name), expires_in: 60 })

function setUp(signIn: (context: GrantContext) => Promise<object>, options: Partial<SessionOptions<void>> = {}) {
  const clock = createClock()
  let asked = 0
  const grant: Grant<void> = {
    headless: true,
    signIn: (_input, context) => {
      asked++
      return signIn(context) as never
    },
  }
  const session = createSession<void>({ resources: 'https://api.example.com', clock, grant, ...options })
  return { session, clock, grant, asked: () => asked }
}

describe('a sign-in that needs no human', () => {
  it('is one for all who call at once, and another once the token is dead', async () => {
    let count = 0
    const { session, clock, asked } = setUp(async () => response(`a${++count}`))
    const tokens = await Promise.all(Array.from({ length: 5 }, () => session.getAccessToken()))
    expect(new Set(tokens)).toEqual(new Set([secret('a1')]))
    clock.advance(61_000)
    expect(await session.getAccessToken()).toBe(secret('a2'))
    expect(asked()).toBe(2)
  })

  it('is told as any other', async () => {
    const { session } = setUp(async () => response())
    const told: string[] = []
    session.on('signed-in', () => told.push('signed-in'))
    session.subscribe(() => told.push(session.state.status))
    await session.getAccessToken()
    expect(told.filter(one => one === 'signed-in')).toHaveLength(2)
  })

  it('counts the life of its token from when it asked, by both clocks', async () => {
    const answer = deferred<object>()
    const { session, clock } = setUp(() => answer.promise)
    const askedAtMs = clock.now()
    const token = session.getAccessToken()
    await settle()
    clock.advance(20_000)
    answer.resolve(response())
    await token
    expect(session.state).toMatchObject({ expiresAtMs: askedAtMs + 60_000 })
    clock.advanceWall(-3_600_000)
    clock.advance(39_000)
    expect(await session.getAccessToken()).toBe(secret('a'))
  })

  it('is not needed where the storage has one, nor where somebody signed out', async () => {
    const storage = memoryStorage()
    const first = setUp(async () => response('first'), { storage })
    await first.session.getAccessToken()
    const second = setUp(async () => response('second'), { storage })
    expect(await second.session.getAccessToken()).toBe(secret('first'))
    await second.session.signOut()
    const third = setUp(async () => response('third'), { storage })
    await expect(third.session.getAccessToken()).rejects.toMatchObject({ code: 'signed_out' })
    expect([second.asked(), third.asked()]).toEqual([0, 0])
  })

  it('whose grant calls its own session is told so', async () => {
    let call: () => Promise<unknown> = async () => undefined
    const { session } = setUp(async () => {
      await call()
      return response()
    })
    call = () => session.getAccessToken()
    const error = await session.getAccessToken().catch(caught => caught)
    expect(error.cause).toMatchObject({ code: 'reentrant' })
  })
})

describe('one that fails', () => {
  it('is remembered: 1 s, then twice as long each time, up to a minute', async () => {
    const { session, clock, asked } = setUp(() => Promise.reject({ status: 503 }))
    const pauses: number[] = []
    for (let round = 1; round <= 9; round++) {
      const error = await session.getAccessToken().catch(caught => caught)
      expect(error).toMatchObject({ code: 'unreachable', retryable: true, cause: { status: 503 } })
      pauses.push(error.retryAtMs - clock.now())
      const again = await session.getAccessToken().catch(caught => caught)
      expect(again).toMatchObject({ code: 'unreachable', retryAtMs: error.retryAtMs })
      expect(asked()).toBe(round)
      clock.advance(error.retryAtMs - clock.now())
    }
    expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000])
  })

  it('waits as long as the server says', async () => {
    const { session, clock } = setUp(() => Promise.reject({ status: 429, retryAfter: '120' }))
    await expect(session.getAccessToken()).rejects.toMatchObject({ retryAtMs: clock.now() + 120_000 })
  })

  it('begins anew after a success', async () => {
    let isDown = true
    const { session, clock } = setUp(async () => {
      if (isDown) throw { status: 503 }
      return { ...response(), expires_in: 1 }
    })
    for (const pause of [1000, 2000]) {
      await session.getAccessToken().catch(() => undefined)
      clock.advance(pause)
    }
    isDown = false
    await session.getAccessToken()
    isDown = true
    clock.advance(2000)
    await expect(session.getAccessToken()).rejects.toMatchObject({ retryAtMs: clock.now() + 1000 })
  })

  it.each([
    ['refused', refused('why'), true],
    ['a 400', { status: 400 }, true],
    ['invalid_grant', { status: 400, error: 'invalid_grant' }, true],
    ['the network', new TypeError('Failed to fetch'), false],
    ['a 429', { status: 429 }, false],
  ])('for good or for now: %s', async (_what, cause, isFinal) => {
    const { session } = setUp(() => Promise.reject(cause))
    const error = await session.getAccessToken().catch(caught => caught)
    expect(error).toMatchObject({ code: isFinal ? 'sign_in_failed' : 'unreachable', retryable: !isFinal, cause })
    if (isFinal) expect(error.message).toMatch(/refused the sign-in\. Check the client/)
  })

  it('because what it brought is no token says so', async () => {
    const { session } = setUp(async () => ({ token: 'x' }))
    await expect(session.getAccessToken()).rejects.toMatchObject({ code: 'invalid_token_response' })
  })

  it('because it hangs is over in time, and its grant is told', async () => {
    vi.useFakeTimers()
    let signal: AbortSignal | undefined
    const { session, asked } = setUp(
      context => {
        signal = context.signal
        return new Promise(() => undefined)
      },
      { renewal: { timeoutMs: 3000 } },
    )
    const token = session.getAccessToken().catch(caught => caught)
    await vi.advanceTimersByTimeAsync(2999)
    expect(signal?.aborted).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    expect(await token).toMatchObject({
      code: 'unreachable',
      cause: { message: 'The authorization server did not answer within 3000 ms.' },
    })
    expect([signal?.aborted, asked()]).toEqual([true, 1])
  })
})

describe('what comes first counts', () => {
  it.each([
    ['a sign-in of the app', (session: ReturnType<typeof setUp>['session']) => session.adopt(response('adopted'))],
    ['a sign-out', (session: ReturnType<typeof setUp>['session']) => session.signOut()],
  ])('%s while it is under way', async (what, act) => {
    const answer = deferred<object>()
    const { session } = setUp(() => answer.promise)
    const token = session.getAccessToken().catch(caught => caught)
    await settle()
    await act(session)
    answer.resolve(response('late'))
    expect(await token).toMatchObject({ code: 'signed_out' })
    await settle()
    if (what === 'a sign-out') expect(session.state.status).toBe('signed-out')
    else expect(await session.getAccessToken()).toBe(secret('adopted'))
  })
})

describe('replicas', () => {
  function createReplicas() {
    const items = new Map<string, string>()
    const names: string[] = []
    const inner = memoryLock()
    const lock: Lock = {
      request(name, options, callback) {
        names.push(name)
        return inner.request(name, options, callback)
      },
    }
    const storage = (): TokenStorage => ({
      getItem: async key => items.get(key),
      setItem: async (key, value) => void items.set(key, value),
      removeItem: async key => void items.delete(key),
      lock,
    })
    const channel = () => ({ postMessage() {}, addEventListener() {}, removeEventListener() {}, close() {} })
    return { names, lock, make: () => ({ storage: storage(), channel: channel() }) }
  }

  it('make one call: the others find its record under the lock', async () => {
    const { make, names } = createReplicas()
    let count = 0
    const signIn = async () => response(`a${++count}`)
    const sessions = Array.from({ length: 4 }, () => setUp(signIn, make()).session)
    const tokens = await Promise.all(sessions.map(session => session.getAccessToken()))
    expect(new Set(tokens)).toEqual(new Set([secret('a1')]))
    expect(count).toBe(1)
    expect(new Set(names)).toEqual(new Set(['latchkey:api.example.com']))
  })

  it('that find under the lock that somebody signed out meanwhile do not undo it', async () => {
    const { make, lock } = createReplicas()
    const busy = deferred()
    void lock.request('latchkey:api.example.com', {}, () => busy.promise)
    const shared = make()
    const { session, asked } = setUp(async () => response(), shared)
    const token = session.getAccessToken().catch(caught => caught)
    await settle()
    const tombstone = { v: 1, id: 'elsewhere', generation: 3, signedOut: true }
    await shared.storage.setItem('latchkey:api.example.com', JSON.stringify(tombstone))
    busy.resolve()
    expect(await token).toMatchObject({ code: 'signed_out', message: expect.stringContaining('(requested)') })
    expect(asked()).toBe(0)
  })

  it('whose lock is never free say so in time', async () => {
    vi.useFakeTimers()
    const { make } = createReplicas()
    const lock: Lock = { request: () => new Promise(() => undefined) }
    const { session, asked } = setUp(async () => response(), { ...make(), lock, renewal: { lockTimeoutMs: 2000 } })
    const token = session.getAccessToken().catch(caught => caught)
    await vi.advanceTimersByTimeAsync(2000)
    expect(await token).toMatchObject({ code: 'lock_timeout', retryable: true })
    expect(asked()).toBe(0)
  })
})
