import { http } from 'msw'
import { setupServer } from 'msw/node'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createSession, passwordGrant } from '../../src/index.ts'
import { secret } from '../support/no-leaks.ts'
import {
  api,
  createClock,
  createStrictServer,
  refreshEndpoint,
  revocationEndpoint,
  tokenEndpoint,
  user,
} from './strict-authorization-server.ts'

const network = setupServer()
beforeAll(() => network.listen({ onUnhandledFrame: 'error' }))
afterEach(() => network.resetHandlers())
afterAll(() => network.close())

type Server = ReturnType<typeof createStrictServer>
const injected = (server: Server) => ({ fetch: server.fetch })
const intercepted = (server: Server) => {
  network.use(http.all('*', ({ request }) => server.handle(request)))
  return {}
}

describe.each([
  ['an injected fetch', injected],
  ['MSW below the platform’s fetch', intercepted],
])('a strict rotating server over %s', (_how, connect) => {
  it('20 calls after expiry make one renewal, again and again, and the family lives', async () => {
    const clock = createClock()
    const server = createStrictServer({ clock })
    const session = createSession({
      resources: api,
      grant: passwordGrant({ tokenEndpoint, revocationEndpoint, clientId: 'app' }),
      clock,
      ...connect(server),
    })
    await session.signIn(user)
    for (let round = 1; round <= 3; round++) {
      clock.advance(301_000)
      const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => session.fetch(`${api}/${index}`)))
      expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
      expect(server.stats).toMatchObject({ signIns: 1, renewals: round, refusals: 0, reuses: 0, apiRefusals: 0 })
    }
    expect(server.isAlive).toBe(true)
    expect(server.requests.map(({ fields }) => fields.refresh_token).slice(1)).toEqual(
      [1, 2, 3].map(number => secret(`refresh-${number}`)),
    )
    session.dispose()
  })

  it('20 calls that are answered by a bare 401 make one renewal and 20 more sends', async () => {
    const clock = createClock()
    const server = createStrictServer({ clock })
    const session = createSession({
      resources: api,
      grant: passwordGrant({ tokenEndpoint, refreshEndpoint, clientId: 'app' }),
      clock,
      ...connect(server),
    })
    await session.signIn(user)
    clock.advance(10_000)
    server.expireAccess()
    const answers = await Promise.all(Array.from({ length: 20 }, () => session.fetch(`${api}/items`)))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(server.stats).toMatchObject({ renewals: 1, reuses: 0, apiCalls: 40, apiRefusals: 20 })
    expect(server.requests[1]).toMatchObject({ path: '/token/refresh', fields: { refresh_token: secret('refresh-1') } })
    session.dispose()
  })

  it('revokes the refresh token when the user signs out', async () => {
    const clock = createClock()
    const server = createStrictServer({ clock })
    const session = createSession({
      resources: api,
      grant: passwordGrant({ tokenEndpoint, revocationEndpoint, clientId: 'app' }),
      clock,
      ...connect(server),
    })
    await session.signIn(user)
    await session.signOut()
    expect(session.state).toEqual({ status: 'signed-out', reason: 'requested' })
    await expect.poll(() => server.stats.revocations).toBe(1)
    expect(server.isAlive).toBe(false)
    expect(server.requests.at(-1)?.fields).toEqual({
      client_id: 'app',
      token: secret('refresh-1'),
      token_type_hint: 'refresh_token',
    })
    session.dispose()
  })
})
