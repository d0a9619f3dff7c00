import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createSession, memoryStorage, passwordGrant } from '../../src/index.ts'
import { api, createClock, createStrictServer, tokenEndpoint, user } from '../servers/strict-authorization-server.ts'

function setUp() {
  const clock = createClock()
  const server = createStrictServer({ clock })
  const storage = memoryStorage()
  // Two session objects on one storage, as two modules of an app make them.
  const [session, other] = [0, 1].map(() =>
    createSession({
      resources: api,
      grant: passwordGrant({ tokenEndpoint, clientId: 'app' }),
      storage,
      clock,
      fetch: server.fetch,
    }),
  ) as [ReturnType<typeof create>, ReturnType<typeof create>]
  const manually = async () => {
    const authorization = `Bearer ${await session.getAccessToken()}`
    return server.fetch(api, { headers: { authorization } })
  }
  const ways: (() => Promise<Response>)[] = [
    () => session.fetch(api),
    () => session.fetch(new Request(`${api}/items`, { method: 'POST', body: 'x' })),
    () => other.fetch(new URL(api)),
    async () => server.fetch(api, { headers: await other.authorizationHeaders(api) }),
    manually,
  ]
  return { clock, server, session, ways }
}
const create = () => createSession({ resources: api, grant: passwordGrant({ tokenEndpoint }) })

it('pain 1: 200 calls in five ways find the token expired: one renewal, 200 successes, and the family lives', async () => {
  const { clock, server, session, ways } = setUp()
  await session.signIn(user)
  clock.advance(301_000)
  const answers = await Promise.all(Array.from({ length: 200 }, (_, index) => ways[index % ways.length]?.()))
  expect(answers.every(answer => answer?.status === 200)).toBe(true)
  expect(server.stats).toMatchObject({ renewals: 1, refusals: 0, reuses: 0, apiCalls: 200, apiRefusals: 0 })
  expect(server.isAlive).toBe(true)
})

it('pain 1: whenever the calls come while a renewal runs, each refresh token is sent once and no call fails', async () => {
  const turns = fc.array(fc.tuple(fc.nat(40), fc.nat(4)), { minLength: 2, maxLength: 20 })
  await fc.assert(
    fc.asyncProperty(turns, fc.boolean(), async (calls, isKnownToBeExpired) => {
      const { clock, server, session, ways } = setUp()
      await session.signIn(user)
      clock.advance(isKnownToBeExpired ? 301_000 : 10_000)
      server.expireAccess()
      const answers = await Promise.all(
        calls.map(async ([turn, way]) => {
          for (let index = 0; index < turn; index++) await undefined
          // Those that take the token themselves can not know that the server dislikes it.
          const isSelfMade = way > 2 && !isKnownToBeExpired
          return (await ways[isSelfMade ? 0 : way]?.())?.status
        }),
      )
      expect(answers).toEqual(calls.map(() => 200))
      expect(server.stats).toMatchObject({ renewals: 1, refusals: 0, reuses: 0 })
    }),
    { numRuns: 200 },
  )
})
