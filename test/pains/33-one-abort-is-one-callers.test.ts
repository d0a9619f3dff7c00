import { describe, expect, it } from 'vitest'
import type { GrantFunction } from '../../src/index.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { asyncStorage, caught, createRealm, createWorld, settle } from './support.ts'

const turnsOf = async (count: number) => {
  for (let turn = 0; turn < count; turn++) await undefined
}

async function setUp() {
  const world = createWorld()
  const progress = { begun: 0, answered: 0 }
  const grant: GrantFunction = async (tokens, context) => {
    progress.begun++
    await turnsOf(5)
    const answer = await world.grant.renew(tokens, context)
    await turnsOf(5)
    progress.answered++
    return answer
  }
  const { session } = createRealm(world, { grant, storage: asyncStorage(world.items) })
  await session.adopt(world.server.signIn())
  await settle()
  world.clock.advance(301_000)
  return { ...world, session, progress }
}

const ways = [
  ['fetch', 'fetch'],
  ['getAccessToken', 'getAccessToken'],
  ['renew', 'renew'],
  ['authorizationHeaders', 'authorizationHeaders'],
] as const

const startWith = (
  session: Awaited<ReturnType<typeof setUp>>['session'],
  way: (typeof ways)[number][0],
  signal: AbortSignal,
) =>
  ({
    fetch: () => session.fetch(api, { signal }),
    getAccessToken: () => session.getAccessToken({ signal }),
    renew: () => session.renew({ signal }),
    authorizationHeaders: () => session.authorizationHeaders(api, { signal }),
  })[way]()

describe('pain 33: of 50 callers that wait for one renewal', () => {
  it.each(ways)(
    'the first, a %s, aborts at any turn: it rejects with its own reason, 49 succeed, one token call',
    async way => {
      const reached = { before: 0, 'in the grant': 0, after: 0, served: 0 }
      for (let turns = 0; turns < 200 && reached.served < 3; turns++) {
        const { session, server, progress } = await setUp()
        const controller = new AbortController()
        const reason = new Error('the user went on')
        const first = caught(startWith(session, way, controller.signal))
        const others = Array.from({ length: 49 }, () => caught(session.fetch(api)))
        await turnsOf(turns)
        const stage = progress.answered ? 'after' : progress.begun ? 'in the grant' : 'before'
        controller.abort(reason)
        const result = await first
        for (const { value } of await Promise.all(others)) expect(value).toMatchObject({ status: 200 })
        if (result.error) expect(result.error).toBe(reason)
        expect(server.stats).toMatchObject({ renewals: 1, refusals: 0, reuses: 0 })
        reached[result.error ? stage : 'served']++
      }
      for (const count of Object.values(reached)) expect(count).toBeGreaterThan(0)
    },
  )

  it('all abort, at any turn: the renewal completes and is stored all the same', async () => {
    let leftEarly = 0
    let served = 0
    for (let turns = 0; turns < 200 && served < 3; turns++) {
      const { session, server, progress, items, key } = await setUp()
      const controllers = Array.from({ length: 50 }, () => new AbortController())
      const calls = controllers.map(({ signal }) => caught(session.fetch(api, { signal })))
      await turnsOf(turns)
      const hadBegun = progress.begun > 0
      for (const controller of controllers) controller.abort()
      const results = await Promise.all(calls)
      await settle()
      if (results.every(({ error }) => error)) leftEarly++
      if (results.every(({ value }) => value)) served++
      if (!hadBegun && !progress.begun) continue
      expect(items.get(key)).toContain(secret('refresh-2'))
      expect(server.stats).toMatchObject({ renewals: 1, refusals: 0, reuses: 0 })
      expect(await session.getAccessToken()).toBe(secret('access-2'))
    }
    expect(leftEarly).toBeGreaterThan(20)
    expect(served).toBeGreaterThan(0)
  })
})
