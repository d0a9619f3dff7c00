import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { GrantFunction, SessionError, Wake } from '../../src/index.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { caught, createRealm, createWorld, pass } from './support.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** A session whose token has expired, before a token endpoint of a kind. Each token call is dated. */
async function setUp(answer: () => Promise<never>) {
  const world = createWorld()
  const line: { answer?: (() => Promise<never>) | undefined } = { answer }
  const calls: number[] = []
  let wake: () => void = () => undefined
  const grant: GrantFunction = async (tokens, context) => {
    calls.push(world.clock.now())
    return line.answer ? line.answer() : world.grant.renew(tokens, context)
  }
  const hint: Wake = listener => {
    wake = listener
    return () => undefined
  }
  const realm = createRealm(world, { grant, wake: hint })
  await realm.session.adopt(world.server.signIn())
  world.clock.advance(301_000)
  const startMs = world.clock.now()
  /** `perSecond` calls at once, each second; all that they ended with. */
  const load = async (seconds: number, perSecond: number) => {
    const results: ReturnType<typeof caught>[] = []
    for (let second = 0; second < seconds; second++) {
      for (let call = 0; call < perSecond; call++) results.push(caught(realm.session.fetch(api)))
      await pass(world.clock, 1000)
    }
    return Promise.all(results)
  }
  return { ...world, ...realm, world, line, calls, startMs, load, wake: () => wake() }
}

const status =
  (code: number, headers = {}) =>
  () =>
    Promise.reject(new Response(null, { status: code, headers }))
const codes = (results: { error?: unknown }[]) => new Set(results.map(({ error }) => (error as SessionError)?.code))

describe('pain 18: a refresh token that is dead', () => {
  it('costs one token call, however often the app asks, and everybody is told at once', async () => {
    const { load, calls, session, server, clock } = await setUp(() =>
      Promise.reject(Response.json({ error: 'invalid_grant' }, { status: 400 })),
    )
    const results = await load(60, 167)
    expect(results.length).toBeGreaterThan(10_000)
    expect(codes(results)).toEqual(new Set(['signed_out']))
    expect(calls).toHaveLength(1)
    expect(server.stats.apiCalls).toBe(0)
    // No timer has to run for the answer.
    const late = caught(session.fetch(api))
    expect((await late).error).toMatchObject({ code: 'signed_out', signInRequired: true })
    await pass(clock, 3_600_000, 60_000)
    expect(calls).toHaveLength(1)
  })
})

describe('pain 18: a token endpoint that says 429 with Retry-After: 120', () => {
  it('is not asked for 120 s; callers are told until when', async () => {
    const { load, calls, line, session, clock } = await setUp(status(429, { 'retry-after': '120' }))
    const results = await load(120, 20)
    expect(calls).toHaveLength(1)
    expect(codes(results)).toEqual(new Set(['unreachable']))
    for (const { error } of results) {
      expect(error).toMatchObject({ retryable: true, signInRequired: false, retryAtMs: Number(calls[0]) + 120_000 })
    }
    line.answer = undefined
    await pass(clock, 2000)
    expect((await session.fetch(api)).status).toBe(200)
    expect(calls).toHaveLength(2)
  })

  it('is not asked by other tabs either', async () => {
    const { calls, session, world } = await setUp(status(429, { 'retry-after': '120' }))
    await caught(session.fetch(api))
    const asked = vi.fn(() => Promise.reject(new Error('not to be asked')))
    const { session: other } = createRealm(world, { grant: asked })
    expect((await caught(other.fetch(api))).error).toMatchObject({ code: 'unreachable' })
    expect(calls).toHaveLength(1)
    expect(asked).not.toHaveBeenCalled()
  })
})

describe.each([
  ['that is down', status(503)],
  ['that can not be reached', () => Promise.reject(new TypeError('Failed to fetch'))],
])('pain 18: a server %s', (_what, answer) => {
  it('is asked ever less often, at most six times a minute in the end, not at equal intervals', async () => {
    const { load, calls, startMs } = await setUp(answer)
    const results = await load(1800, 2)
    expect(codes(results)).toEqual(new Set(['unreachable']))
    const perMinute = Array.from(
      { length: 30 },
      (_, minute) => calls.filter(atMs => Math.floor((atMs - startMs) / 60_000) === minute).length,
    )
    // Each renewal makes up to two quick retries: three calls.
    expect(perMinute[0]).toBeLessThanOrEqual(24)
    for (const count of perMinute.slice(3)) expect(count).toBeLessThanOrEqual(6)
    const renewals = calls.filter((atMs, index) => index === 0 || atMs - (calls[index - 1] ?? 0) > 1500)
    const gaps = renewals.slice(1).map((atMs, index) => atMs - (renewals[index] ?? 0))
    expect(Math.max(...gaps)).toBeLessThanOrEqual(61_000)
    expect(new Set(gaps.slice(-10)).size).toBeGreaterThan(1)
  })

  it('is asked at once when the app is told that the network is back', async () => {
    const { load, calls, line, wake, session } = await setUp(answer)
    await load(600, 1)
    const before = calls.length
    line.answer = undefined
    wake()
    expect((await session.fetch(api)).status).toBe(200)
    expect(calls).toHaveLength(before + 1)
  })
})
