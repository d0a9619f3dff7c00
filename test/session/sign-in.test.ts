import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  createSession,
  type Grant,
  type GrantContext,
  memoryStorage,
  type SessionOptions,
  type TokenStorage,
} from '../../src/index.ts'
import { deferred, settle } from '../engine/contexts-fakes.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

afterEach(() => vi.unstubAllGlobals())

const resources = 'https://api.example.com'
const response = (name = 'a') => ({ access_token: secret(name), refresh_token: secret(`r-${name}`), expires_in: 60 })

type Input = { name?: string; appState?: unknown; signal?: AbortSignal } | undefined

/** A grant whose sign-ins the test answers by hand. */
function createGrant(more: Partial<Grant<Input>> = {}) {
  const asked: { input: Input; context: GrantContext; answer: ReturnType<typeof deferred<object | undefined>> }[] = []
  const grant: Grant<Input> = {
    signIn(input, context) {
      const answer = deferred<object | undefined>()
      asked.push({ input, context, answer })
      return answer.promise as never
    },
    ...more,
  }
  return { grant, asked }
}

function setUp(more: Partial<Grant<Input>> = {}, options: Partial<SessionOptions<Input>> = {}) {
  const { grant, asked } = createGrant(more)
  const clock = createClock()
  const session = createSession<Input>({ resources, grant, clock, ...options })
  return { session, asked, clock }
}

/** The sign-in that the grant was asked for last. */
function last<T>(asked: T[]): T {
  const found = asked.at(-1)
  if (!found) throw new Error('The grant was not asked.')
  return found
}

describe('signIn', () => {
  it('gives the grant what the app gave, and resolves with the app’s own state', async () => {
    const { session, asked } = setUp()
    const input = { name: 'alice' }
    const done = session.signIn(input)
    expect(last(asked).input).toBe(input)
    last(asked).answer.resolve({ ...response(), appState: { path: '/' } })
    expect(await done).toEqual({ appState: { path: '/' } })
    const again = session.signIn(undefined)
    last(asked).answer.resolve(response('b'))
    expect(await again).toEqual({})
    expect(await session.getAccessToken()).toBe(secret('b'))
    const nothing = session.signIn(undefined)
    last(asked).answer.resolve({ ...response('c'), appState: undefined })
    expect(await nothing).toEqual({ appState: undefined })
  })

  it('that obtains nothing changes nothing', async () => {
    const { session, asked } = setUp()
    const done = session.signIn(undefined)
    last(asked).answer.resolve(undefined)
    expect(await done).toEqual({})
    await session.ready
    expect(session.state.status).toBe('signed-out')
  })

  it('of a grant that has none is misconfigured, and says what to call', async () => {
    const session = createSession({ resources, grant: async () => response() }) as unknown as {
      signIn(): Promise<unknown>
    }
    await expect(session.signIn()).rejects.toMatchObject({
      code: 'misconfigured',
      message: expect.stringContaining('session.adopt()'),
    })
  })

  it('that fails leaves the session that was there, in every way that a grant can fail', async () => {
    const { session, asked } = setUp()
    await session.adopt(response('old'))
    const ways: [unknown, object][] = [
      [new TypeError('Failed to fetch'), { code: 'sign_in_failed', retryable: true }],
      [{ status: 400 }, { code: 'sign_in_failed', retryable: false }],
    ]
    for (const [cause, told] of ways) {
      const done = session.signIn(undefined)
      last(asked).answer.reject(cause)
      await expect(done).rejects.toMatchObject({ ...told, cause })
    }
    const done = session.signIn(undefined)
    last(asked).answer.resolve({ expires_in: 60 })
    await expect(done).rejects.toMatchObject({ code: 'invalid_token_response' })
    expect(await session.getAccessToken()).toBe(secret('old'))
  })

  it('of a grant that throws in the same turn rejects', async () => {
    const { session } = setUp({
      signIn() {
        throw { status: 400 }
      },
    })
    await expect(session.signIn(undefined)).rejects.toMatchObject({ code: 'sign_in_failed' })
  })

  it('begins no life before its last request was sent: a human takes minutes', async () => {
    const fetched: string[] = []
    const { session, clock } = setUp(
      {
        async signIn(_input, { fetch }) {
          clock.advance(300_000)
          await fetch('https://login.example.com/device', { method: 'POST' })
          clock.advance(300_000)
          await fetch('https://login.example.com/token')
          clock.advance(10_000)
          return response()
        },
      },
      {
        fetch: (async (input: string, init?: RequestInit) => {
          fetched.push(`${init?.method ?? 'GET'} ${input}`)
          return new Response()
        }) as typeof fetch,
      },
    )
    await session.signIn(undefined)
    expect(session.state).toMatchObject({ expiresAtMs: clock.now() + 50_000 })
    expect(fetched).toEqual(['POST https://login.example.com/device', 'GET https://login.example.com/token'])
    // The wall clock is set back: the monotonic one knows how old it is.
    clock.advanceWall(-3_600_000)
    clock.advance(49_000)
    expect(await session.getAccessToken({ minValidityMs: 0 })).toBe(secret('a'))
    clock.advance(2000)
    await expect(session.getAccessToken()).rejects.toMatchObject({ code: 'signed_out' })
  })

  it('without a request begins its life when it was asked for', async () => {
    const { session, clock, asked } = setUp()
    const done = session.signIn(undefined)
    const askedAtMs = clock.now()
    clock.advance(20_000)
    last(asked).answer.resolve(response())
    await done
    expect(session.state).toMatchObject({ expiresAtMs: askedAtMs + 60_000 })
  })
})

describe('a caller’s own signal', () => {
  const reason = new Error('own reason')

  it('that has aborted: the grant is not asked, and a sign-in under way goes on', async () => {
    const { session, asked } = setUp()
    const first = session.signIn(undefined)
    await expect(session.signIn({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    expect(asked).toHaveLength(1)
    last(asked).answer.resolve(response())
    await first
  })

  it('ends the sign-in with its own reason, whatever the grant does then, and the grant is told', async () => {
    const { session, asked } = setUp()
    const abort = new AbortController()
    const done = session.signIn({ signal: abort.signal })
    expect(last(asked).context.signal.aborted).toBe(false)
    abort.abort(reason)
    expect(last(asked).context.signal.aborted).toBe(true)
    await expect(done).rejects.toBe(reason)
    last(asked).answer.resolve(response())
    await session.ready
    expect(session.state.status).toBe('signed-out')
  })

  it('is the reason also where the grant fails of it first', async () => {
    const abort = new AbortController()
    const { session } = setUp({
      async signIn() {
        await undefined
        abort.abort(reason)
        throw new Error('aborted')
      },
    })
    await expect(session.signIn({ signal: abort.signal })).rejects.toBe(reason)
  })
})

describe('a later sign-in, adoption or sign-out', () => {
  it.each([
    [
      'signIn',
      (session: ReturnType<typeof setUp>['session']) => void session.signIn({ name: 'later' }).catch(() => undefined),
    ],
    ['adopt', (session: ReturnType<typeof setUp>['session']) => void session.adopt(response('adopted'))],
    ['signOut', (session: ReturnType<typeof setUp>['session']) => void session.signOut()],
  ])('%s takes the place of one under way, whose grant is told', async (_what, act) => {
    const { session, asked } = setUp()
    const first = session.signIn({ name: 'first' })
    const { context, answer } = last(asked)
    act(session)
    await expect(first).rejects.toMatchObject({
      code: 'sign_in_cancelled',
      message: expect.stringContaining('later signIn, adopt or signOut'),
    })
    expect(context.signal.aborted).toBe(true)
    answer.resolve(response('first'))
    await Promise.resolve()
    expect(JSON.stringify(session.state)).not.toContain('first')
    expect(session.state.status === 'signed-in').toBe(_what === 'adopt')
  })

  it.each([0, 1, 2, 3, 4, 5, 6, 7, 8])('%d turns after the first one was answered counts', async turns => {
    const { session, asked } = setUp()
    const first = session.signIn(undefined)
    last(asked).answer.resolve(response('first'))
    for (let turn = 0; turn < turns; turn++) await undefined
    const adopted = session.adopt(response('adopted'))
    await Promise.allSettled([first, adopted])
    expect(await session.getAccessToken()).toBe(secret('adopted'))
  })

  it('takes the place of the one that is stored, which is told', async () => {
    const stored = memoryStorage()
    await createSession({ resources, storage: stored, clock: createClock(), grant: async () => response() }).adopt(
      response('stored'),
    )
    const storage: TokenStorage = { ...stored, getItem: async key => stored.getItem(key) }
    const { session, asked } = setUp({}, { storage })
    const told: string[] = []
    session.on('signed-out', ({ reason }) => told.push(reason))
    session.on('signed-in', () => told.push('signed-in'))
    const done = session.signIn(undefined)
    await settle()
    last(asked).answer.resolve(response('new'))
    await done
    await settle()
    expect(told).toEqual(['replaced', 'signed-in'])
  })

  it('leaves one that has ended alone', async () => {
    const { session, asked } = setUp()
    const first = session.signIn(undefined)
    const { context, answer } = last(asked)
    answer.resolve(response('first'))
    await first
    await session.signOut()
    expect(context.signal.aborted).toBe(false)
  })

  it('that can not begin does not take the place: tokens that are none are refused first', async () => {
    const { session, asked } = setUp()
    const first = session.signIn(undefined)
    await expect(session.adopt({ access_token: '' })).rejects.toMatchObject({ code: 'invalid_token_response' })
    last(asked).answer.resolve(response('first'))
    await first
    expect(await session.getAccessToken()).toBe(secret('first'))
  })
})

describe('adopt', () => {
  it('counts the life from when the tokens were asked for, or from now', async () => {
    const { session, clock } = setUp()
    await session.adopt(response(), { obtainedAtMs: clock.now() - 20_000 })
    expect(session.state).toMatchObject({ expiresAtMs: clock.now() + 40_000 })
    await session.adopt(response('b'))
    expect(session.state).toMatchObject({ expiresAtMs: clock.now() + 60_000 })
    // Taken over now, so the monotonic clock knows its age.
    clock.advanceWall(-3_600_000)
    clock.advance(61_000)
    await expect(session.getAccessToken()).rejects.toMatchObject({ code: 'signed_out' })
  })

  it('of tokens from another time is told by the wall clock alone', async () => {
    const { session, clock } = setUp()
    await session.adopt(response(), { obtainedAtMs: clock.now() })
    clock.advanceWall(-3_600_000)
    clock.advance(61_000)
    expect(await session.getAccessToken()).toBe(secret('a'))
  })
})

describe('completeSignIn', () => {
  const address = 'https://app.example.com/callback?code=1'
  const answerIn = (url: string) => new URL(url).searchParams.get('code') ?? undefined

  it('of a grant that never leaves the page is misconfigured', async () => {
    await expect(setUp().session.completeSignIn(address)).rejects.toMatchObject({
      code: 'misconfigured',
      message: expect.stringContaining('nothing to complete'),
    })
  })

  it('takes the answer of the URL, by default that of the location', async () => {
    const complete = vi.fn(async () => ({ ...response(), appState: 7 }))
    const { session } = setUp({ complete, answerIn })
    expect(await session.completeSignIn(address)).toEqual({ appState: 7 })
    vi.stubGlobal('location', { href: `${address}2` })
    expect(await session.completeSignIn()).toEqual({ appState: 7 })
    expect(complete.mock.calls.map(([url]: unknown[]) => url)).toEqual([address, `${address}2`])
    expect(session.state.status).toBe('signed-in')
  })

  it('of a URL that is no answer is undefined, and takes nobody’s place', async () => {
    const complete = vi.fn(async () => response('completed'))
    const { session, asked } = setUp({ complete, answerIn })
    const first = session.signIn(undefined)
    expect(await session.completeSignIn('https://app.example.com/')).toBeUndefined()
    last(asked).answer.resolve(response('first'))
    await first
    expect(complete).not.toHaveBeenCalled()
  })

  it('of one answer is one exchange, however often it is asked for at once', async () => {
    const answer = deferred<object>()
    const complete = vi.fn(() => answer.promise as never)
    const { session } = setUp({ complete, answerIn })
    const both = [session.completeSignIn(address), session.completeSignIn(`${address}&again`)]
    answer.resolve({ ...response(), appState: 1 })
    expect(await Promise.all(both)).toEqual([{ appState: 1 }, { appState: 1 }])
    expect(complete).toHaveBeenCalledTimes(1)
    // Later it is another question, for the grant to answer.
    await session.completeSignIn(address)
    expect(complete).toHaveBeenCalledTimes(2)
  })

  it('of another answer supersedes the first, and one of a grant without names goes by the URL', async () => {
    const answers = [deferred<object>(), deferred<object>()]
    let asked = 0
    const { session } = setUp({ complete: () => answers[asked++]?.promise as never })
    const first = session.completeSignIn(address)
    const told = expect(first).rejects.toMatchObject({ code: 'sign_in_cancelled' })
    const same = session.completeSignIn(address)
    const toldToo = expect(same).rejects.toMatchObject({ code: 'sign_in_cancelled' })
    const second = session.completeSignIn(`${address}2`)
    await Promise.all([told, toldToo])
    answers[1]?.resolve(response())
    expect(await second).toEqual({})
    expect(asked).toBe(2)
  })

  it('that finds nothing to complete resolves with undefined', async () => {
    const { session } = setUp({ complete: async () => undefined })
    expect(await session.completeSignIn(address)).toBeUndefined()
    expect(session.state.status).toBe('signed-out')
  })
})

describe('dispose', () => {
  it('cancels a sign-in under way, and every later call rejects disposed', async () => {
    const { session, asked } = setUp({ complete: async () => response() })
    const first = session.signIn(undefined)
    session.dispose()
    session.dispose()
    await expect(first).rejects.toMatchObject({ code: 'sign_in_cancelled' })
    expect(last(asked).context.signal.aborted).toBe(true)
    const calls = [
      () => session.signIn(undefined),
      () => session.adopt(response()),
      () => session.signOut(),
      () => session.completeSignIn('https://app.example.com/'),
      () => session.fetch(`${resources}/`),
      () => session.getAccessToken(),
      () => session.renew(),
    ]
    for (const call of calls)
      await expect(call()).rejects.toMatchObject({
        code: 'disposed',
        message: expect.stringContaining('Create another'),
      })
  })

  it('before anything started starts nothing, and fits `using`', () => {
    const storage = { ...memoryStorage(), getItem: vi.fn() }
    const session = createSession({ resources, storage, grant: async () => response() })
    session[Symbol.dispose]()
    expect(storage.getItem).not.toHaveBeenCalled()
  })
})
