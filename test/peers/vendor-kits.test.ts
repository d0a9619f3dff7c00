import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession, memoryStorage } from '../../src/index.ts'
import { api, createClock, createStrictServer, tokenEndpoint } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { caught, deferred, key, settle, signedIn } from './support.ts'

// What the kits of identity services were seen to do wrong.
beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

describe('peer 1: a 503 in JSON deletes the refresh token', () => {
  it.each([503, 429, 500])('a %d in JSON does not: the next renewal has it still', async status => {
    const { session, expire, tokenAnswers, pass, server, items } = await signedIn()
    expire()
    tokenAnswers(() => Response.json({ message: 'try later' }, { status }))
    const call = caught(session.fetch(api))
    await pass(2000)
    expect((await call).error).toMatchObject({ code: 'unreachable' })
    expect(items.get(key)).toContain(secret('refresh-1'))
    tokenAnswers(undefined)
    await pass(60_000)
    expect((await session.fetch(api)).status).toBe(200)
    expect(server.stats.renewals).toBe(1)
  })
})

describe('peer 2: the token goes to any absolute URL, a 401 is left to the caller, a Request with a body breaks the second send', () => {
  it('another origin gets no token', async () => {
    const { session, sent, line } = await signedIn()
    line.answer = () => new Response('evil')
    await session.fetch('https://evil.example/')
    await session.fetch(new Request('https://evil.example/', { method: 'POST', body: 'x' }))
    expect(sent.filter(({ url }) => url.startsWith('https://evil')).map(({ authorization }) => authorization)).toEqual([
      null,
      null,
    ])
  })

  it('a 401 is handled, and the body of a Request is there again', async () => {
    const bodies: string[] = []
    const { session, clock, server, line } = await signedIn()
    line.answer = async request => {
      if (request.url.startsWith(api)) bodies.push(await request.clone().text())
      return undefined as never
    }
    clock.advance(10_000)
    server.expireAccess()
    const request = new Request(api, { method: 'POST', body: 'the body' })
    expect((await session.fetch(request)).status).toBe(200)
    expect(bodies).toEqual(['the body', 'the body'])
  })
})

describe('peer 3: five renewals at once are five rotations, and an answer without refresh_token loses it', () => {
  it.each([
    ['renew()', (session: Awaited<ReturnType<typeof signedIn>>['session']) => session.renew()],
    ['a 401', (session: Awaited<ReturnType<typeof signedIn>>['session']) => session.fetch(api)],
  ])('five at once by %s are one', async (_how, act) => {
    const { session, clock, server } = await signedIn()
    clock.advance(10_000)
    server.expireAccess()
    await Promise.all(Array.from({ length: 5 }, () => act(session)))
    expect(server.stats).toMatchObject({ renewals: 1, reuses: 0 })
  })

  it('an answer without refresh_token keeps the one that is there', async () => {
    const { session, expire, tokenAnswers, items } = await signedIn()
    expire()
    tokenAnswers(() => Response.json({ access_token: secret('only'), expires_in: 300 }))
    await session.renew()
    expect(items.get(key)).toContain(secret('refresh-1'))
    expect(session.state.status).toBe('signed-in')
  })
})

describe('peer 4: a network error keeps the session there, as it should', () => {
  it.each([
    ['of the token endpoint', () => Promise.reject(new TypeError('Failed to fetch'))],
    [
      'that is a bug of somebody else',
      () => {
        throw new TypeError('x is not a function')
      },
    ],
  ])('here too: a TypeError %s', async (_what, answer) => {
    const { session, expire, tokenAnswers, pass, events } = await signedIn()
    expire()
    tokenAnswers(answer)
    const call = caught(session.fetch(api))
    await pass(2000)
    expect((await call).error).toMatchObject({ code: 'unreachable' })
    tokenAnswers(undefined)
    await pass(60_000)
    expect((await session.fetch(api)).status).toBe(200)
    expect(events.filter(event => event.startsWith('signed-out'))).toEqual([])
  })
})

// In full: test/pains/02-a-blip-is-no-sign-out.test.ts, test/pains/23-answer-without-refresh-token.test.ts.
describe('peer 5: a 429, a 403 in HTML and a 200 without refresh_token sign the user out', () => {
  it.each([
    ['a 429', () => new Response(null, { status: 429 })],
    ['a 403 in HTML', () => new Response('<html>', { status: 403, headers: { 'content-type': 'text/html' } })],
    ['a 200 without refresh_token', () => Response.json({ access_token: secret('only'), expires_in: 300 })],
  ])('%s does not', async (_what, answer) => {
    const { session, expire, tokenAnswers, pass, events, items } = await signedIn()
    expire()
    tokenAnswers(answer)
    const call = caught(session.renew())
    await pass(2000)
    await call
    expect(session.state.status).toBe('signed-in')
    expect(items.get(key)).toContain(secret('refresh-1'))
    expect(events.filter(event => event.startsWith('signed-out'))).toEqual([])
  })
})

// In full: test/pains/05-callbacks-call-back.test.ts.
describe('peer 6: a subscriber that throws makes the call reject, and nobody handles it', () => {
  it('it does not: the call gets its token, and the app sees its mistake in the console', async () => {
    const report = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    const { session, expire } = await signedIn()
    const mine = new Error('mine')
    session.subscribe(() => {
      throw mine
    })
    session.on('renewed', () => Promise.reject(mine))
    expire()
    expect(await session.getAccessToken()).toBe(secret('access-2'))
    await settle()
    vi.useRealTimers()
    await new Promise(resolve => setTimeout(resolve, 5))
    process.off('unhandledRejection', unhandled)
    expect(unhandled).not.toHaveBeenCalled()
    expect(report.mock.calls.map(([, error]) => error)).toEqual([mine, mine])
  })
})

describe('peer 7: two users who renew at once both get the session of the first', () => {
  it.each([
    ['one storage', true],
    ['a storage each', false],
  ])('each gets an own token, on %s', async (_what, isOne) => {
    const clock = createClock()
    const server = createStrictServer({ clock })
    const storage = memoryStorage()
    const spent: (string | undefined)[] = []
    const [alice, bob] = ['alice', 'bob'].map(name => {
      const session = createSession({
        resources: api,
        name,
        clock,
        storage: isOne ? storage : memoryStorage(),
        fetch: server.fetch,
        grant: async ({ refreshToken }) => {
          spent.push(refreshToken)
          await settle()
          return server.rotate(refreshToken) as never
        },
      })
      return { session, tokens: server.signIn() }
    }) as [{ session: ReturnType<typeof createSession>; tokens: ReturnType<typeof server.signIn> }, never]
    const users = [alice, bob as typeof alice]
    for (const { session, tokens } of users) await session.adopt(tokens)
    clock.advance(301_000)
    await Promise.all(users.map(({ session }) => session.renew()))
    expect(spent).toEqual(users.map(({ tokens }) => tokens.refresh_token))
    const renewed = await Promise.all(users.map(({ session }) => session.getAccessToken()))
    expect(new Set(renewed).size).toBe(2)
    for (const { session } of users) expect((await session.fetch(api)).status).toBe(200)
  })
})

// In full: test/pains/19-saving-failed.test.ts.
describe('peer 8: a full storage keeps the spent refresh token, and it is sent again', () => {
  it('the successor serves from memory, and the spent one is not sent again', async () => {
    const items = new Map<string, string>()
    let isFull = false
    const { session, expire, server, pass, events } = await signedIn({
      storage: {
        getItem: name => items.get(name),
        setItem(name, value) {
          if (isFull) throw Object.assign(new Error('quota'), { name: 'QuotaExceededError' })
          items.set(name, value)
          if (value.includes('"attempt"')) isFull = true
        },
        removeItem: name => void items.delete(name),
      },
    })
    expire()
    expect((await session.fetch(api)).status).toBe(200)
    expect(items.get(key)).toContain(secret('refresh-1'))
    expire()
    const call = caught(session.fetch(api))
    await pass(2000)
    await call
    expect(server.stats.reuses).toBe(0)
    expect(session.state.status).toBe('signed-in')
    expect(events).toContain('storage-failed')
  })
})

describe('peer 9: three renewals at once are three calls, and after a network blip nothing is renewed any more', () => {
  it('three at once are one', async () => {
    const { session, server } = await signedIn()
    await Promise.all([session.renew(), session.renew(), session.renew()])
    expect(server.stats).toMatchObject({ renewals: 1, reuses: 0 })
  })

  it('after a blip the timer of keepFresh renews, without any call of the app', async () => {
    const { session, tokenAnswers, pass, server, events } = await signedIn({ keepFresh: true }, 100)
    tokenAnswers(() => Promise.reject(new TypeError('Failed to fetch')))
    await pass(90_000)
    expect(events).toContain('renewal-failed unreachable')
    tokenAnswers(undefined)
    await pass(70_000)
    expect(server.stats.renewals).toBeGreaterThan(0)
    session.dispose()
  })
})

describe('peer 13: a network error removes the access token, an omitted refresh token is dropped, a reset of the timer breaks the single flight', () => {
  it('a network error keeps a token that works', async () => {
    const { session, tokenAnswers, pass, items } = await signedIn()
    tokenAnswers(() => Promise.reject(new TypeError('Failed to fetch')))
    const call = caught(session.renew())
    await pass(2000)
    expect((await call).error).toMatchObject({ code: 'unreachable' })
    expect((await session.fetch(api)).status).toBe(200)
    expect(items.get(key)).toContain(secret('access-1'))
  })

  it('an omitted refresh token is kept', async () => {
    const { session, tokenAnswers, items } = await signedIn()
    tokenAnswers(() => Response.json({ access_token: secret('only'), expires_in: 300 }))
    await session.renew()
    expect(items.get(key)).toContain(secret('refresh-1'))
  })

  it('news of another tab and a wake in the middle of a renewal begin no second one', async () => {
    let tell: () => void = () => undefined
    let wake: () => void = () => undefined
    const items = new Map<string, string>()
    const gate = deferred()
    const { session, expire, server, line } = await signedIn({
      keepFresh: true,
      wake: listener => {
        wake = listener
        return () => undefined
      },
      storage: {
        getItem: name => items.get(name),
        setItem: (name, value) => void items.set(name, value),
        removeItem: name => void items.delete(name),
        watch: (_key, listener) => {
          tell = listener
          return () => undefined
        },
      },
    })
    line.answer = async request => {
      if (request.url === tokenEndpoint) await gate.promise
      return undefined as never
    }
    expire()
    const calls = [session.fetch(api)]
    for (let round = 0; round < 3; round++) {
      await settle()
      tell()
      wake()
      calls.push(session.fetch(api))
    }
    await settle()
    gate.resolve()
    for (const { status } of await Promise.all(calls)) expect(status).toBe(200)
    expect(server.stats).toMatchObject({ renewals: 1, reuses: 0 })
    session.dispose()
  })
})

describe('peer 14: the rotated refresh token is thrown away', () => {
  it('the next renewal sends the newest one, ten times over', async () => {
    const { session, server } = await signedIn()
    for (let round = 1; round <= 10; round++) await session.renew()
    const sent = server.requests.map(({ fields }) => fields.refresh_token).filter(Boolean)
    expect(sent).toEqual(Array.from({ length: 10 }, (_, index) => secret(`refresh-${index + 1}`)))
    expect(server.stats).toMatchObject({ renewals: 10, reuses: 0 })
  })
})

describe('peer 15: any 400 signs out, and an omitted refresh token is dropped', () => {
  it.each(['invalid_request', 'invalid_client', 'unauthorized_client', 'temporarily_unavailable', undefined])(
    'a 400 %s does not',
    async error => {
      const { session, tokenAnswers, expire, pass, items } = await signedIn()
      expire()
      tokenAnswers(() => (error ? Response.json({ error }, { status: 400 }) : new Response(null, { status: 400 })))
      const call = caught(session.fetch(api))
      await pass(2000)
      expect((await call).error).toMatchObject({ code: 'unreachable', retryable: true })
      expect(session.state.status).toBe('signed-in')
      expect(items.get(key)).toContain(secret('refresh-1'))
    },
  )

  it('a renewal without refresh_token can be followed by another', async () => {
    const { session, tokenAnswers, server } = await signedIn()
    tokenAnswers(() => Response.json({ access_token: secret('only'), expires_in: 300 }))
    await session.renew()
    tokenAnswers(undefined)
    await session.renew()
    expect(server.requests.at(-1)?.fields.refresh_token).toBe(secret('refresh-1'))
    expect(server.stats.renewals).toBe(1)
  })
})

// In full: test/pains/14-sign-out-during-a-renewal.test.ts.
describe('peer 21: a sign-out in the middle of a renewal is undone, and a torn write leaves the new access token beside the spent refresh token', () => {
  it('a sign-out stands when the answer comes', async () => {
    const gate = deferred()
    const { session, line, expire, items } = await signedIn()
    line.answer = async request => {
      if (request.url === tokenEndpoint) await gate.promise
      return undefined as never
    }
    expire()
    const call = caught(session.fetch(api))
    await settle()
    await session.signOut()
    gate.resolve()
    await settle()
    expect((await call).error).toMatchObject({ code: 'signed_out' })
    expect(items.get(key)).toContain('"signedOut":true')
    expect(items.get(key)).not.toContain(secret(''))
  })

  it('there is one item, written whole: a crash after any write leaves a pair that belongs together', async () => {
    const writes: [name: string, value: string][] = []
    const items = new Map<string, string>()
    const { session } = await signedIn({
      storage: {
        getItem: name => items.get(name),
        setItem(name, value) {
          writes.push([name, value])
          items.set(name, value)
        },
        removeItem: name => void items.delete(name),
      },
    })
    for (let round = 0; round < 5; round++) await session.renew()
    expect(new Set(writes.map(([name]) => name))).toEqual(new Set([key]))
    for (const [, value] of writes) {
      const { accessToken, refreshToken } = JSON.parse(value).tokens
      expect(refreshToken.replace('refresh', 'access')).toBe(accessToken)
    }
  })
})

// In full: test/pains/16-wrong-clocks.test.ts.
describe('peer 22: a clock that is two hours fast costs one rotation a call', () => {
  it.each([2, -2])('one that is %d h off costs none', async hours => {
    const clock = createClock()
    clock.advanceWall(hours * 3_600_000)
    const { session, server } = await signedIn({ clock })
    for (let call = 0; call < 10; call++) {
      await session.getAccessToken()
      expect((await session.fetch(api)).status).toBe(200)
    }
    expect(server.stats.renewals).toBe(0)
  })

  it('one that jumps by two hours costs one', async () => {
    const { session, clock, server } = await signedIn()
    clock.advanceWall(2 * 3_600_000)
    for (let call = 0; call < 10; call++) await session.getAccessToken()
    expect(server.stats.renewals).toBe(1)
  })
})
