import { describe, expect, it } from 'vitest'
import { createSession, memoryStorage, passwordGrant, refused, type TokenResponse } from '../../src/index.ts'
import { secret } from '../support/no-leaks.ts'

/** An API and a token endpoint in one function: counts, rotates, and knows one access token at a time. */
function createServer() {
  let generation = 0
  let lifetime = 60
  const seen: string[] = []
  const stats = { renewals: 0, calls: 0 }
  const issue = (): TokenResponse => ({
    access_token: secret(`access-${++generation}`),
    refresh_token: secret(`refresh-${generation}`),
    expires_in: lifetime,
  })
  return {
    stats,
    seen,
    issue,
    live: (seconds: number) => {
      lifetime = seconds
    },
    revokeAll: () => issue(),
    grant: async (tokens: { refreshToken?: string }) => {
      stats.renewals++
      await Promise.resolve()
      if (tokens.refreshToken !== secret(`refresh-${generation}`)) throw refused()
      return issue()
    },
    fetch: (async (_input: unknown, init?: RequestInit) => {
      stats.calls++
      const authorization = new Headers(init?.headers).get('authorization') ?? ''
      seen.push(authorization)
      const isGood = authorization === `Bearer ${secret(`access-${generation}`)}`
      return new Response(isGood ? 'ok' : 'no', { status: isGood ? 200 : 401 })
    }) as typeof fetch,
  }
}

function createClock() {
  let now = 1_800_000_000_000
  return {
    now: () => now,
    monotonic: () => now - 1_700_000_000_000,
    advance: (ms: number) => {
      now += ms
    },
  }
}

const url = 'https://api.example.com/items'
const resources = 'https://api.example.com'

describe('session.fetch', () => {
  it('renews once for 100 requests that find the token expired, and all of them succeed', async () => {
    const server = createServer()
    const clock = createClock()
    const session = createSession({ resources, grant: server.grant, fetch: server.fetch, clock })
    await session.adopt(server.issue())
    clock.advance(61_000)
    const answers = await Promise.all(Array.from({ length: 100 }, () => session.fetch(url)))
    expect(answers.every(({ status }) => status === 200)).toBe(true)
    expect(server.stats).toEqual({ renewals: 1, calls: 100 })
  })

  it('resends once after a 401, for many requests with one renewal', async () => {
    const server = createServer()
    const clock = createClock()
    const session = createSession({ resources, grant: server.grant, fetch: server.fetch, clock })
    const first = server.issue()
    await session.adopt(first)
    clock.advance(10_000)
    server.revokeAll()
    // The refresh token that the session holds has to be the newest for the server to take it.
    const renewing = createSession({
      resources,
      grant: async () => {
        server.stats.renewals++
        return server.issue()
      },
      fetch: server.fetch,
      clock,
    })
    await renewing.adopt(first)
    clock.advance(10_000)
    const answers = await Promise.all(Array.from({ length: 20 }, () => renewing.fetch(url)))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(server.stats).toEqual({ renewals: 1, calls: 40 })
  })

  it('sends no token outside the resources and leaves a 401 from there alone', async () => {
    const server = createServer()
    const session = createSession({ resources, grant: server.grant, fetch: server.fetch })
    await session.adopt(server.issue())
    for (const foreign of ['https://api.example.com.evil.test/', 'https://evil.test/', 'http://api.example.com/']) {
      expect((await session.fetch(foreign)).status).toBe(401)
    }
    expect(server.seen).toEqual(['', '', ''])
    expect(server.stats.renewals).toBe(0)
  })

  it('ends the session when a refused refresh token meets an expired access token', async () => {
    const server = createServer()
    const clock = createClock()
    const grant = () => Promise.reject(refused())
    const session = createSession({ resources, grant, fetch: server.fetch, clock })
    const reasons: string[] = []
    session.on('signed-out', ({ reason }) => reasons.push(reason))
    await session.adopt(server.issue())
    clock.advance(61_000)
    const results = await Promise.allSettled([session.fetch(url), session.fetch(url)])
    expect(results.map(result => result.status === 'rejected' && result.reason.code)).toEqual([
      'signed_out',
      'signed_out',
    ])
    expect(new Set(results.map(result => result.status === 'rejected' && result.reason)).size).toBe(2)
    expect(reasons).toEqual(['refused'])
    expect(session.state).toEqual({ status: 'signed-out', reason: 'refused' })
  })

  it('keeps the session when the authorization server can not be reached, and does not ask again at once', async () => {
    const server = createServer()
    const clock = createClock()
    let calls = 0
    const grant = () => {
      calls++
      return Promise.reject(Object.assign(new Error('down'), { status: 503, retryAfter: '120' }))
    }
    const session = createSession({ resources, grant, fetch: server.fetch, clock })
    await session.adopt(server.issue())
    clock.advance(61_000)
    await expect(session.fetch(url)).rejects.toMatchObject({ code: 'unreachable', retryable: true })
    await expect(session.fetch(url)).rejects.toMatchObject({ code: 'unreachable', retryAtMs: clock.now() + 120_000 })
    expect(calls).toBe(1)
    expect(session.state.status).toBe('signed-in')
  })

  it('signs out in the caller’s tick and stays signed out after a restart on the same storage', async () => {
    const server = createServer()
    const storage = memoryStorage()
    const session = createSession({ resources, grant: server.grant, fetch: server.fetch, storage })
    await session.adopt(server.issue())
    const done = session.signOut()
    expect(session.state.status).toBe('signed-out')
    await done
    session.dispose()
    const again = createSession({ resources, grant: server.grant, fetch: server.fetch, storage })
    expect(again.state.status).toBe('signed-out')
    await expect(again.fetch(url)).rejects.toMatchObject({ code: 'signed_out', signInRequired: true })
    expect(server.stats.calls).toBe(0)
  })

  it('goes on with the stored record after a restart', async () => {
    const server = createServer()
    const storage = memoryStorage()
    const first = createSession({ resources, grant: server.grant, fetch: server.fetch, storage })
    await first.adopt(server.issue())
    first.dispose()
    await expect(first.fetch(url)).rejects.toMatchObject({ code: 'disposed' })
    const second = createSession({ resources, grant: server.grant, fetch: server.fetch, storage })
    expect((await second.fetch(url)).status).toBe(200)
  })

  it('sends a body again byte for byte', async () => {
    const server = createServer()
    const clock = createClock()
    const bodies: string[] = []
    const fetch = (async (input: RequestInfo | URL, init?: RequestInit) => {
      const request = new Request(input, init)
      bodies.push(await request.clone().text())
      return server.fetch(input, { headers: request.headers })
    }) as typeof globalThis.fetch
    const session = createSession({ resources, grant: async () => server.issue(), fetch, clock })
    await session.adopt(server.issue())
    clock.advance(10_000)
    server.revokeAll()
    const request = new Request(url, { method: 'POST', body: 'päyload' })
    expect((await session.fetch(request)).status).toBe(200)
    expect(bodies).toEqual(['päyload', 'päyload'])
    expect(request.bodyUsed).toBe(true)
  })
})

describe('passwordGrant', () => {
  it('signs in with a form and renews at the refresh endpoint with JSON', async () => {
    const sent: { url: string; type: string | null; body: string }[] = []
    const clock = createClock()
    let issued = 0
    const fetch = (async (input: RequestInfo | URL, init?: RequestInit) => {
      const request = new Request(input, init)
      if (request.url === url) return new Response('ok')
      sent.push({ url: request.url, type: request.headers.get('content-type'), body: await request.text() })
      return Response.json({ access_token: secret(`a${++issued}`), refresh_token: 'r', expires_in: 60 })
    }) as typeof globalThis.fetch
    const session = createSession({
      resources,
      grant: passwordGrant({
        tokenEndpoint: 'https://api.example.com/token',
        refreshEndpoint: 'https://api.example.com/token/refresh',
        clientId: 'app',
      }),
      fetch,
      clock,
    })
    await session.signIn({ username: 'alice', password: 'p w' })
    clock.advance(61_000)
    expect((await session.fetch(url)).status).toBe(200)
    expect(sent.map(({ url, body }) => [url, body])).toEqual([
      ['https://api.example.com/token', 'client_id=app&grant_type=password&username=alice&password=p+w'],
      ['https://api.example.com/token/refresh', '{"refresh_token":"r"}'],
    ])
  })
})
