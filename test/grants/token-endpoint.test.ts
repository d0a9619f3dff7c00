import { describe, expect, it } from 'vitest'
import { clientCredentials, createSession, type Grant, passwordGrant, refreshTokenGrant } from '../../src/index.ts'
import {
  api,
  createClock,
  createStrictServer,
  type StrictServerOptions,
  tokenEndpoint,
  user,
} from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

// An id and a secret that HTTP Basic would mistake, were they not form-encoded first (RFC 6749 §2.3.1).
const clientId = 'app:1 ü'
const clientSecret = secret('s:e c%r+ü')

function setUp<SignIn>(grant: Grant<SignIn>, options: Omit<StrictServerOptions, 'clock'> = {}) {
  const clock = createClock()
  const server = createStrictServer({ clock, ...options })
  const session = createSession({ resources: api, grant, clock, fetch: server.fetch })
  return { clock, server, session }
}

describe('the client authenticates itself at the token endpoint', () => {
  const ways = [
    ['none', undefined],
    ['client_secret_basic', clientSecret],
    ['client_secret_post', clientSecret],
  ] as const

  it.each(ways)('by %s, for the sign-in and for renewals', async (clientAuth, own) => {
    const { session, server, clock } = setUp(
      passwordGrant({ tokenEndpoint, clientId, clientAuth, ...(own && { clientSecret: own }) }),
      { client: { id: clientId, auth: clientAuth, ...(own && { secret: own }) } },
    )
    await session.signIn(user)
    clock.advance(301_000)
    expect((await session.fetch(api)).status).toBe(200)
    expect(server.stats).toMatchObject({ signIns: 1, renewals: 1 })
  })

  it('by basic where there is a secret and nothing else is said, else by none', async () => {
    const confidential = setUp(passwordGrant({ tokenEndpoint, clientId, clientSecret }), {
      client: { id: clientId, secret: clientSecret, auth: 'client_secret_basic' },
    })
    await confidential.session.signIn(user)
    const open = setUp(passwordGrant({ tokenEndpoint, clientId }), { client: { id: clientId, auth: 'none' } })
    await open.session.signIn(user)
    expect(open.server.requests[0]?.headers.get('authorization')).toBeNull()
  })
})

describe('passwordGrant', () => {
  it('sends scope, resource and further parameters, as a form or as JSON', async () => {
    const options = { tokenEndpoint, clientId, scope: 'a b', resource: api, parameters: { realm: 'x' } }
    for (const bodyFormat of ['form', 'json'] as const) {
      const { session, server } = setUp(passwordGrant({ ...options, bodyFormat }))
      await session.signIn(user)
      const sent = server.requests[0]
      expect(sent?.fields).toEqual({
        grant_type: 'password',
        ...user,
        client_id: clientId,
        scope: 'a b',
        resource: api,
        realm: 'x',
      })
      expect(sent?.headers.get('content-type')).toMatch(bodyFormat === 'form' ? /urlencoded/ : /json/)
      expect(sent?.headers.get('accept')).toBe('application/json')
    }
  })

  it('a wrong password is sign_in_failed and changes nothing about the session that was there', async () => {
    const { session } = setUp(passwordGrant({ tokenEndpoint, clientId }))
    await session.signIn(user)
    const before = session.state
    const error = await session.signIn({ ...user, password: secret('wrong') }).catch(reason => reason)
    expect(error).toMatchObject({ code: 'sign_in_failed', retryable: false })
    expect(session.state).toBe(before)
    expect((await session.fetch(api)).status).toBe(200)
  })
})

describe('a view asks for its resource and scope alone, whatever the grant asks for', () => {
  const target = { resource: `${api}/mail`, scope: 'mail' }
  const asked = { tokenEndpoint, clientId, scope: 'all', resource: api, parameters: { scope: 'all' } }

  it('at a renewal (RFC 6749 §6, RFC 8707 §2.2)', async () => {
    const { session, server } = setUp(passwordGrant(asked))
    await session.signIn(user)
    await session.for(target).getAccessToken()
    expect(server.requests.at(-1)?.fields).toMatchObject({ grant_type: 'refresh_token', ...target })
  })

  it('by client credentials', async () => {
    const { session, server } = setUp(clientCredentials({ ...asked, clientSecret }), {
      client: { id: clientId, secret: clientSecret, auth: 'client_secret_basic' },
    })
    await session.for(target).getAccessToken()
    expect(server.requests.at(-1)?.fields).toMatchObject({ grant_type: 'client_credentials', ...target })
  })

  it('at a first-party endpoint', async () => {
    const sent: unknown[] = []
    const session = createSession({
      resources: api,
      grant: passwordGrant({ ...asked, refreshEndpoint: `${api}/refresh` }),
      fetch: async (input, init) => {
        sent.push(JSON.parse(await new Request(input, init).text()))
        return Response.json({ access_token: secret('view'), expires_in: 60 })
      },
    })
    await session.adopt({ access_token: secret('own'), refresh_token: secret('refresh'), expires_in: 60 })
    await session.for(target).getAccessToken()
    expect(sent).toEqual([{ refresh_token: secret('refresh'), ...target }])
  })
})

describe('clientCredentials', () => {
  it('signs in by itself at the first call, once for many, and again when the token has expired', async () => {
    const { session, server, clock } = setUp(clientCredentials({ tokenEndpoint, clientId, clientSecret }), {
      client: { id: clientId, secret: clientSecret, auth: 'client_secret_basic' },
    })
    for (const signIns of [1, 2]) {
      const answers = await Promise.all(Array.from({ length: 20 }, () => session.fetch(api)))
      expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
      expect(server.stats.signIns).toBe(signIns)
      clock.advance(301_000)
    }
    expect(server.requests.map(({ fields }) => fields)).toEqual(Array(2).fill({ grant_type: 'client_credentials' }))
  })

  it('does not come back by itself after a sign-out', async () => {
    const { session, server } = setUp(clientCredentials({ tokenEndpoint, clientId, clientSecret }))
    await session.fetch(api)
    await session.signOut()
    await expect(session.fetch(api)).rejects.toMatchObject({ code: 'signed_out' })
    expect(server.stats.signIns).toBe(1)
  })

  it('a client that is refused is asked once, not by every call', async () => {
    const { session, server } = setUp(clientCredentials({ tokenEndpoint, clientId, clientSecret }), {
      client: { id: clientId, secret: secret('another'), auth: 'client_secret_basic' },
    })
    const results = await Promise.allSettled(Array.from({ length: 5 }, () => session.fetch(api)))
    for (const result of results) expect(result).toMatchObject({ reason: { code: 'sign_in_failed' } })
    await expect(session.fetch(api)).rejects.toMatchObject({ code: 'sign_in_failed' })
    expect(server.requests).toHaveLength(1)
  })
})

describe('refreshTokenGrant', () => {
  it('begins with the refresh token it is given, and goes on with its successors', async () => {
    const clock = createClock()
    const server = createStrictServer({ clock })
    const first = server.signIn().refresh_token as string
    const session = createSession({
      resources: api,
      grant: refreshTokenGrant({ tokenEndpoint, refreshToken: async () => first }),
      clock,
      fetch: server.fetch,
    })
    expect((await session.fetch(api)).status).toBe(200)
    clock.advance(301_000)
    expect((await session.fetch(api)).status).toBe(200)
    expect(server.stats).toMatchObject({ renewals: 2, reuses: 0 })
  })

  it('keeps the refresh token where the server does not rotate it', async () => {
    const clock = createClock()
    let calls = 0
    const session = createSession({
      resources: api,
      grant: refreshTokenGrant({ tokenEndpoint, refreshToken: secret('forever') }),
      clock,
      fetch: async (input, init) => {
        const request = new Request(input, init)
        if (request.url === tokenEndpoint) {
          expect(await request.text()).toContain(secret('forever'))
          return Response.json({ access_token: secret(`a${++calls}`), expires_in: 60 })
        }
        return new Response('ok')
      },
    })
    for (let round = 1; round <= 3; round++) {
      await session.fetch(api)
      expect(calls).toBe(round)
      clock.advance(61_000)
    }
  })
})

describe('what a token endpoint answers to a renewal', () => {
  const oauth = (status: number, error: string) => () => Response.json({ error }, { status })
  const kept: [what: string, answer: () => Response | Promise<Response>, code: string][] = [
    ['400 invalid_request', oauth(400, 'invalid_request'), 'unreachable'],
    ['401 invalid_client', oauth(401, 'invalid_client'), 'unreachable'],
    ['400 unauthorized_client', oauth(400, 'unauthorized_client'), 'unreachable'],
    ['400 unsupported_grant_type', oauth(400, 'unsupported_grant_type'), 'unreachable'],
    ['400 invalid_scope', oauth(400, 'invalid_scope'), 'unreachable'],
    ['a bare 401 {detail}', () => Response.json({ detail: 'no' }, { status: 401 }), 'unreachable'],
    ['an empty 400', () => new Response(null, { status: 400 }), 'unreachable'],
    [
      '403 HTML',
      () => new Response('<html>', { status: 403, headers: { 'content-type': 'text/html' } }),
      'unreachable',
    ],
    ['408', () => new Response(null, { status: 408 }), 'unreachable'],
    ['429', () => new Response(null, { status: 429, headers: { 'retry-after': '7' } }), 'unreachable'],
    ['429 with a date', () => new Response(null, { status: 429, headers: { 'retry-after': 'soon' } }), 'unreachable'],
    ['200 HTML', () => new Response('<html>Sign in to the WiFi</html>'), 'invalid_token_response'],
    ['200 torn JSON', () => new Response('{"access_token":"'), 'invalid_token_response'],
    ['200 {}', () => Response.json({}), 'invalid_token_response'],
    ['204', () => new Response(null, { status: 204 }), 'invalid_token_response'],
  ]

  it.each(kept)('%s keeps the session, and a later renewal succeeds', async (_what, answer, code) => {
    const { session, server, clock } = setUp(passwordGrant({ tokenEndpoint, clientId }))
    await session.signIn(user)
    clock.advance(301_000)
    server.failNext(answer, answer, answer)
    const error = await session.fetch(api).catch(reason => reason)
    expect(error).toMatchObject({ name: 'SessionError', code, retryable: true })
    expect(session.state.status).toBe('signed-in')
    clock.advance(Math.max(error.retryAtMs - clock.now(), 0))
    server.heal()
    expect((await session.fetch(api)).status).toBe(200)
    expect(server.stats).toMatchObject({ renewals: 1, reuses: 0 })
  })

  it('invalid_grant ends the session when the access token is dead, with one request', async () => {
    const { session, server, clock } = setUp(passwordGrant({ tokenEndpoint, clientId }))
    await session.signIn(user)
    clock.advance(301_000)
    server.failNext(oauth(400, 'invalid_grant'))
    await expect(session.fetch(api)).rejects.toMatchObject({ code: 'signed_out', signInRequired: true })
    await expect(session.fetch(api)).rejects.toMatchObject({ code: 'signed_out' })
    expect(session.state).toEqual({ status: 'signed-out', reason: 'refused' })
    expect(server.requests).toHaveLength(2)
  })

  it('three 4xx in a row say signInRequired, and wipe nothing', async () => {
    const { session, server, clock } = setUp(passwordGrant({ tokenEndpoint, clientId }))
    await session.signIn(user)
    clock.advance(301_000)
    const empty = () => new Response(null, { status: 400 })
    server.failNext(empty, empty, empty)
    const told: boolean[] = []
    for (let round = 0; round < 3; round++) {
      await session.fetch(api).catch(error => told.push(error.signInRequired))
      clock.advance(120_000)
    }
    expect(told).toEqual([false, false, true])
    expect((await session.fetch(api)).status).toBe(200)
  })
})
