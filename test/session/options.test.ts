import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession, type Grant, memoryStorage, type StepUpRequest } from '../../src/index.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

const url = 'https://api.example.com/items?secret=1'
const resources = 'https://api.example.com'

describe('isAuthFailure', () => {
  const build = (isAuthFailure: (response: Response) => boolean | Promise<boolean>) => {
    let good = 1
    let renewals = 0
    const clock = createClock()
    const session = createSession({
      resources,
      clock,
      isAuthFailure,
      grant: async () => {
        good = 2
        return { access_token: secret(`a${++renewals + 1}`) }
      },
      fetch: (async (_input: unknown, init?: RequestInit) => {
        const isGood = new Headers(init?.headers).get('authorization') === `Bearer ${secret(`a${good}`)}`
        return new Response(isGood ? '{"data":1}' : '{"errors":["UNAUTHENTICATED"]}')
      }) as typeof fetch,
    })
    return { session, clock, expire: () => (good = 2), count: () => renewals }
  }

  it('52: a GraphQL error in a 200 renews and sends again, and the body of the answer is unread', async () => {
    const { session, clock, expire, count } = build(async response =>
      (await response.text()).includes('UNAUTHENTICATED'),
    )
    await session.adopt({ access_token: secret('a1'), refresh_token: secret('r') })
    clock.advance(10_000)
    expire()
    const response = await session.fetch(url)
    expect(await response.json()).toEqual({ data: 1 })
    expect(count()).toBe(1)
  })

  it('52: a predicate that throws means no, and one that reads nothing leaves the body whole', async () => {
    for (const predicate of [() => false, () => Promise.reject(new Error('bug'))]) {
      const { session, count } = build(predicate)
      await session.adopt({ access_token: secret('a1'), refresh_token: secret('r') })
      expect(await (await session.fetch(url)).json()).toEqual({ data: 1 })
      expect(count()).toBe(0)
    }
  })
})

describe('onStepUp', () => {
  const build = (answer: boolean | undefined) => {
    const asked: StepUpRequest[] = []
    const told: StepUpRequest[] = []
    let sends = 0
    const session = createSession({
      resources,
      grant: async () => ({ access_token: secret('b') }),
      ...(answer !== undefined && {
        onStepUp: async (request: StepUpRequest) => {
          asked.push(request)
          return answer
        },
      }),
      fetch: (async () => {
        const challenge = 'Bearer error="insufficient_scope", scope="write", max_age="60", acr_values="high"'
        return ++sends === 1
          ? new Response('', { status: 403, headers: { 'www-authenticate': challenge } })
          : new Response('ok')
      }) as typeof fetch,
    })
    session.on('insufficient-scope', request => told.push(request))
    return { session, asked, told, sends: () => sends }
  }
  const payload = { url: 'https://api.example.com/items', scope: 'write', acrValues: 'high', maxAge: 60 }

  it('is asked on 403 insufficient_scope, and true sends the request once more', async () => {
    const { session, asked, told, sends } = build(true)
    await session.adopt({ access_token: secret('a') })
    expect((await session.fetch(url)).status).toBe(200)
    expect([asked, told, sends()]).toEqual([[payload], [payload], 2])
  })

  it('false, or nobody to ask, makes the 403 the answer', async () => {
    for (const answer of [false, undefined]) {
      const { session, told, sends } = build(answer)
      await session.adopt({ access_token: secret('a') })
      expect((await session.fetch(url)).status).toBe(403)
      expect([told, sends()]).toEqual([[payload], 1])
    }
  })
})

describe('keepFresh', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('renews by a timer before the token expires, and stops with dispose', async () => {
    let renewals = 0
    const session = createSession({
      resources,
      keepFresh: true,
      grant: async () => ({ access_token: secret(`n${++renewals}`), expires_in: 100 }),
    })
    await session.adopt({ access_token: secret('a'), expires_in: 100 })
    await vi.advanceTimersByTimeAsync(99_000)
    expect(renewals).toBe(1)
    await vi.advanceTimersByTimeAsync(200_000)
    expect(renewals).toBeGreaterThanOrEqual(3)
    session.dispose()
    const before = renewals
    await vi.advanceTimersByTimeAsync(500_000)
    expect(renewals).toBe(before)
  })

  it('58: is off unless asked for: no traffic without a request', async () => {
    let renewals = 0
    const session = createSession({
      resources,
      grant: async () => ({ access_token: secret(`n${++renewals}`), expires_in: 100 }),
    })
    await session.adopt({ access_token: secret('a'), expires_in: 100 })
    await vi.advanceTimersByTimeAsync(500_000)
    expect(renewals).toBe(0)
  })
})

describe("headless: 'at-start'", () => {
  const build = (signIn: Grant<void>['signIn'], storage = memoryStorage()) =>
    createSession<void>({ resources, storage, grant: { headless: 'at-start', ...(signIn && { signIn }) } })

  it('signs in at the start where nothing is stored, and ready waits for it', async () => {
    let asked = 0
    const session = build(async () => {
      asked++
      return { access_token: secret('a') }
    })
    expect(session.state.status).toBe('starting')
    await session.ready
    expect(session.state.status).toBe('signed-in')
    expect(await session.getAccessToken()).toBe(secret('a'))
    expect(asked).toBe(1)
  })

  it('is signed out where that fails, and never undoes a sign-out', async () => {
    const failing = build(() => Promise.reject(new Error('down')))
    await failing.ready
    expect(failing.state.status).toBe('signed-out')
    const storage = memoryStorage()
    let asked = 0
    const signIn = async () => {
      asked++
      return { access_token: secret('a') }
    }
    const first = build(signIn, storage)
    await first.ready
    await first.signOut()
    first.dispose()
    const second = build(signIn, storage)
    await second.ready
    expect(second.state.status).toBe('signed-out')
    await expect(second.getAccessToken()).rejects.toMatchObject({ code: 'signed_out' })
    expect(asked).toBe(1)
  })
})
