import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { GrantFunction } from '../../src/index.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { caught, createRealm, createWorld, pass, settle } from './support.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const answered =
  (status: number, body: object | string = '') =>
  () =>
    Promise.reject(new Response(typeof body === 'string' ? body : JSON.stringify(body), { status }))
const failures: [what: string, grant: GrantFunction, isFinal: boolean][] = [
  ['the network', () => Promise.reject(new TypeError('Failed to fetch')), false],
  ['a 500', answered(500), false],
  ['a 429', answered(429), false],
  ['a 403 in HTML', answered(403, '<html>'), false],
  ['a 401 of the token endpoint', answered(401, { error: 'invalid_client' }), false],
  ['an answer that holds no token', async () => ({}) as never, false],
  [
    'a grant that throws',
    () => {
      throw new Error('a bug')
    },
    false,
  ],
  ['a grant that hangs', () => new Promise(() => undefined), false],
  ['invalid_grant', answered(400, { error: 'invalid_grant' }), true],
]

/** Tokens of an hour, and the renewal that begins ten minutes before their end fails: five minutes are left. */
async function setUp(grant: GrantFunction) {
  const world = createWorld({ lifetimeSeconds: 3600 })
  const renew = vi.fn(grant)
  const realm = createRealm(world, { grant: renew, renewal: { aheadMs: 600_000 }, wake: [] })
  await realm.session.adopt(world.server.signIn())
  await settle()
  world.clock.advance(3_300_000)
  return { ...world, ...realm, renew }
}

describe.each(failures)('pain 31: a renewal behind the requests fails by %s', (_what, grant, isFinal) => {
  it('calls go on with the token at hand until its very end', async () => {
    const { session, clock, renew, server, events, items, key } = await setUp(grant)
    for (let second = 0; second < 299; second += 5) {
      expect((await session.fetch(api)).status).toBe(200)
      expect(await session.getAccessToken()).toBe(secret('access-1'))
      await pass(clock, 5000, 5000)
    }
    expect(renew).toHaveBeenCalled()
    expect(server.stats.apiRefusals).toBe(0)
    expect(session.state.status).toBe('signed-in')
    expect(items.get(key)).toContain(secret('access-1'))
    expect(events.filter(event => event.startsWith('signed-out'))).toEqual([])
    await pass(clock, 10_000)
    const end = caught(session.fetch(api))
    await pass(clock, 70_000)
    expect((await end).error).toMatchObject({ name: 'SessionError', retryable: !isFinal })
    expect(session.state.status).toBe(isFinal ? 'signed-out' : 'signed-in')
  })

  it('also a renewal that the app asked for costs nobody the token', async () => {
    const { session, clock } = await setUp(grant)
    const asked = caught(session.renew())
    await pass(clock, 40_000)
    expect((await asked).error).toMatchObject({ name: 'SessionError' })
    expect((await session.fetch(api)).status).toBe(200)
    expect(session.state.status).toBe('signed-in')
  })

  it('a 401 to the token at hand is the end only where the refresh token is refused too', async () => {
    const { session, clock, server, events } = await setUp(grant)
    await session.fetch(api)
    await pass(clock, 70_000)
    server.expireAccess()
    const call = caught(session.fetch(api))
    await pass(clock, 70_000)
    const { error, value } = await call
    if (isFinal) expect(error).toMatchObject({ code: 'signed_out' })
    else expect(error).toMatchObject({ retryable: true, signInRequired: false, challenge: { status: 401 } })
    expect(value).toBeUndefined()
    expect(session.state.status).toBe(isFinal ? 'signed-out' : 'signed-in')
    expect(events.filter(event => event.startsWith('signed-out'))).toEqual(isFinal ? ['signed-out refused'] : [])
  })
})
