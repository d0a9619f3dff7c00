import { expect, it } from 'vitest'
import { createSession, type TokenResponse } from '../../src/index.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

const url = 'https://api.example.com/items'

/** An API that says 401 whatever it gets, and a grant that always works. */
function setUp(lifetime = 300) {
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

it('pain 12: an API that always says 401 costs one renewal and two sends, and the caller gets the second 401 unread', async () => {
  const { clock, stats, session, start } = setUp()
  await start()
  clock.advance(10_000)
  const answer = await session.fetch(url)
  expect(answer.status).toBe(401)
  expect(answer.bodyUsed).toBe(false)
  expect(await answer.text()).toBe('refusal 2')
  expect(stats).toEqual({ renewals: 1, apiCalls: 2 })
  expect(session.state.status).toBe('signed-in')
})

it('pain 12: 100 such calls at once make one renewal and 200 sends', async () => {
  const { clock, stats, session, start } = setUp()
  await start()
  clock.advance(10_000)
  const answers = await Promise.all(Array.from({ length: 100 }, () => session.fetch(url)))
  expect(answers.every(({ status }) => status === 401)).toBe(true)
  expect(stats).toEqual({ renewals: 1, apiCalls: 200 })
})

it('pain 12: a token that was just minted is not renewed because of a 401, an older one is, even if it should still live', async () => {
  const { clock, stats, session, start } = setUp()
  await start()
  for (let call = 0; call < 5; call++) expect((await session.fetch(url)).status).toBe(401)
  expect(stats).toEqual({ renewals: 0, apiCalls: 5 })
  clock.advance(5001)
  await session.fetch(url)
  expect(stats).toEqual({ renewals: 1, apiCalls: 7 })
  for (let call = 0; call < 5; call++) await session.fetch(url)
  expect(stats).toEqual({ renewals: 1, apiCalls: 12 })
})
