import { expect, it } from 'vitest'
import { createSession, type TokenResponse } from '../../src/index.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

const url = 'https://api.example.com/items'

/** An API that says 401 whatever it gets, and a grant that always works. */
function setUp(lifetime: number | undefined = 300) {
  const clock = createClock()
  const stats = { renewals: 0, apiCalls: 0 }
  const issue = (): TokenResponse => ({
    access_token: secret(`access-${++stats.renewals}`),
    refresh_token: secret(`refresh-${stats.renewals}`),
    expires_in: lifetime,
  })
  const session = createSession({
    resources: 'https://api.example.com',
    grant: async () => issue(),
    clock,
    fetch: async () => new Response(`refusal ${++stats.apiCalls}`, { status: 401 }),
  })
  return { clock, stats, session, start: () => session.adopt({ access_token: secret('a'), expires_in: lifetime }) }
}

it('pain 12: a token that expires on arrival costs at most one renewal a call', async () => {
  const { stats, session, start } = setUp(0)
  await start()
  for (let call = 1; call <= 3; call++) {
    expect((await session.fetch(url)).status).toBe(401)
    expect(stats.renewals).toBeLessThanOrEqual(call)
    expect(stats.apiCalls).toBeLessThanOrEqual(2 * call)
  }
})
