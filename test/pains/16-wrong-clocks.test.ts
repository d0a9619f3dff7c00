import { describe, expect, it } from 'vitest'
import { createSession, type TokenResponse, type TokenStorage } from '../../src/index.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { settle } from './support.ts'

const url = 'https://api.example.com/items'
const hour = 3_600_000
const skews = [-24 * hour, -hour, -50_000, -18_000, 0, 18_000, 50_000, hour, 24 * hour]
const lifetimes = [10, 60, 3600]
const kinds = ['expires_in', 'expires_in and a JWT', 'a JWT alone'] as const

const base64 = (value: object) => btoa(JSON.stringify(value)).replaceAll('=', '')

/** A server by its own right clock, whose tokens say so; and the clock of a device, which is wrong. */
function setUp(lifetimeSeconds: number, skewMs: number, kind: (typeof kinds)[number], answerMs = 0) {
  const right = createClock()
  const clock = createClock()
  clock.advanceWall(skewMs)
  const advance = (ms: number) => {
    right.advance(ms)
    clock.advance(ms)
  }
  const minted: { token: string; deadAtMs: number; uses: number }[] = []
  let refusals = 0
  const mint = (): TokenResponse => {
    const iat = right.now() / 1000
    const name = secret(`${minted.length}`)
    const token =
      kind === 'expires_in' ? name : `${base64({ alg: 'none' })}.${base64({ iat, exp: iat + lifetimeSeconds })}.${name}`
    minted.push({ token, deadAtMs: right.now() + lifetimeSeconds * 1000, uses: 0 })
    return {
      access_token: token,
      refresh_token: secret('refresh'),
      ...(kind !== 'a JWT alone' && { expires_in: lifetimeSeconds }),
    }
  }
  const items = new Map<string, string>()
  const storage = (): TokenStorage => ({
    getItem: key => items.get(key),
    setItem: (key, value) => void items.set(key, value),
    removeItem: key => void items.delete(key),
  })
  const start = () =>
    createSession({
      resources: 'https://api.example.com',
      name: 'test',
      clock,
      storage: storage(),
      lock: { request: async (_name, _options, callback) => callback({}) },
      channel: { postMessage() {}, addEventListener() {}, removeEventListener() {}, close() {} },
      async grant() {
        const answer = mint()
        advance(answerMs)
        return answer
      },
      async fetch(_input, init) {
        const carried = new Headers(init?.headers).get('authorization')
        const known = minted.at(-1)
        const isGood = carried === `Bearer ${known?.token}` && right.now() < (known?.deadAtMs ?? 0)
        if (isGood && known) known.uses++
        else refusals++
        return new Response(null, { status: isGood ? 200 : 401 })
      },
    })
  return { clock, right, advance, start, mint, minted, refusals: () => refusals }
}

const cases = skews.flatMap(skew => lifetimes.flatMap(lifetime => kinds.map(kind => [skew, lifetime, kind] as const)))

describe('pain 16: a device whose clock is wrong', () => {
  it.each(cases)(
    'by %d ms, with tokens of %d s by %s: each is used, renewed once a lifetime and not before 3/4 of it',
    async (skew, lifetime, kind) => {
      const { advance, start, mint, minted, refusals } = setUp(lifetime, skew, kind)
      let session = start()
      await session.adopt(mint())
      const stepMs = (lifetime * 1000) / 20
      const rounds = 10
      let lastMints = 1
      let ageSteps = 0
      for (let step = 0; step < rounds * 20; step++) {
        expect((await session.fetch(url)).status).toBe(200)
        await settle()
        if (minted.length > lastMints) {
          expect(ageSteps * stepMs).toBeGreaterThanOrEqual(lifetime * 750)
          expect(minted.at(-2)?.uses).toBeGreaterThan(0)
          lastMints = minted.length
          ageSteps = 0
        }
        // A reload in the middle has the wall clock alone.
        if (step === rounds * 10) {
          session.dispose()
          session = start()
        }
        advance(stepMs)
        ageSteps++
      }
      expect(refusals()).toBe(0)
      expect(minted.length - 1).toBeLessThanOrEqual(Math.ceil(rounds / 0.75))
    },
  )

  it.each(skews.flatMap(jump => lifetimes.map(lifetime => [jump, lifetime] as const)))(
    'whose clock jumps by %d ms in the middle costs one renewal at most (tokens of %d s)',
    async (jump, lifetime) => {
      const { clock, advance, start, mint, minted, refusals } = setUp(lifetime, 0, 'expires_in')
      const session = start()
      await session.adopt(mint())
      advance(lifetime * 200)
      clock.advanceWall(jump)
      for (let call = 0; call < 50; call++) {
        expect((await session.fetch(url)).status).toBe(200)
        await settle()
      }
      expect(minted.length - 1).toBeLessThanOrEqual(1)
      // A clock set back hides nothing: the other one knows how old the token is.
      advance(lifetime * 900)
      expect((await session.fetch(url)).status).toBe(200)
      expect(refusals()).toBe(0)
    },
  )

  it('counts the life from the moment it asked, not from when the answer came', async () => {
    const { advance, start, mint, minted, refusals } = setUp(10, -hour, 'expires_in', 7000)
    const session = start()
    await session.adopt(mint())
    advance(11_000)
    // Seven seconds on its way: three are left.
    expect((await session.fetch(url)).status).toBe(200)
    expect(minted).toHaveLength(2)
    advance(4000)
    expect((await session.fetch(url)).status).toBe(200)
    expect(minted).toHaveLength(3)
    expect(refusals()).toBe(0)
  })
})
