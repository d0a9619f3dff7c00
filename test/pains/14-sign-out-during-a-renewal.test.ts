import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Grant, GrantFunction, TokenResponse } from '../../src/index.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { asyncStorage, caught, createRealm, createWorld, pass, settle } from './support.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const wheres = ['in the same tab', 'in another tab', 'in another tab, whose news come late'] as const
const acts = ['a sign-out', 'another sign-in'] as const
const storages = ['a synchronous storage', 'an asynchronous storage', 'one that compares and sets'] as const
interface Scenario {
  readonly where: (typeof wheres)[number]
  readonly act: (typeof acts)[number]
  readonly storage: (typeof storages)[number]
  readonly whenSignedOut?: 'reject' | 'send-anonymously'
}

const turnsOf = async (count: number) => {
  for (let turn = 0; turn < count; turn++) await undefined
}

/** A renewal into which something comes after so many turns; all that was seen of it. */
async function interleave({ where, act, storage, whenSignedOut = 'reject' }: Scenario, turns: number) {
  const world = createWorld()
  const { server, items, key, clock, revoked } = world
  const rotated: TokenResponse[] = []
  const grant: Grant<never> & { renew: GrantFunction } = {
    ...world.grant,
    async renew({ refreshToken }) {
      await turnsOf(3)
      const tokens = server.rotate(refreshToken)
      if (!tokens) throw Response.json({ error: 'invalid_grant' }, { status: 400 })
      rotated.push(tokens)
      await turnsOf(3)
      return tokens
    },
  }
  const sends: { authorization: string | null; isAfter: boolean }[] = []
  let isAfter = false
  const make = () =>
    createRealm(world, {
      grant,
      whenSignedOut,
      storage: storage === 'a synchronous storage' ? world.storage() : asyncStorage(items, storage === storages[2]),
      fetch: (input, init) => {
        sends.push({ authorization: new Headers(init?.headers).get('authorization'), isAfter })
        return server.fetch(input, init)
      },
    })
  const [tab, other] = [make(), make()]
  const first = server.signIn()
  await tab.session.adopt(first)
  await other.session.ready
  await settle()
  clock.advance(301_000)
  const call = caught(tab.session.fetch(api))
  await turnsOf(turns)
  const before = { rotated: rotated.length, stored: items.get(key) ?? '' }
  const actor = where === 'in the same tab' ? tab : other
  if (where === 'in another tab, whose news come late') tab.channel.freeze()
  const next = act === 'another sign-in' ? server.signIn() : undefined
  const done = next ? actor.session.adopt(next) : actor.session.signOut()
  // In the calling context from the call on, elsewhere once the news is there.
  if (actor === tab) isAfter = true
  await done
  await settle()
  isAfter ||= where === 'in another tab'
  await pass(clock, 3000)
  tab.channel.resume()
  await settle()
  const result = await call
  const mine = [first, ...rotated.filter(tokens => tokens !== next)]
  return { ...world, tab, other, make, sends, result, next, mine, rotated, revoked, before }
}

const scenarios = wheres
  .flatMap(where => acts.flatMap(act => storages.map(storage => ({ where, act, storage }))))
  .map(scenario => [scenario.act, scenario.where, scenario.storage, scenario] as const)

describe('pain 14: in the middle of a renewal, at each of its turns,', () => {
  it.each(scenarios)('%s %s, on %s, is the end of the old session', async (_act, _where, _storage, scenario) => {
    const reached = { before: 0, between: 0, after: 0 }
    for (let turns = 0; turns < 150 && reached.after < 25; turns++) {
      const { items, key, result, next, mine, rotated, revoked, sends, before, tab, other, make } = await interleave(
        scenario,
        turns,
      )
      const isStored = before.rotated > 0 && before.stored.includes(String(rotated[0]?.refresh_token))
      reached[isStored ? 'after' : before.rotated ? 'between' : 'before']++
      const record = JSON.parse(items.get(key) ?? '{}')
      const old = mine.flatMap(({ access_token, refresh_token }) => [access_token, refresh_token])
      for (const token of old) expect(items.get(key)).not.toContain(`${token}"`)
      if (next) {
        expect(record.tokens.refreshToken).toBe(next.refresh_token)
        expect(revoked).not.toContain(next.refresh_token)
        for (const { session } of [tab, other, make()]) expect(await session.getAccessToken()).toBe(next.access_token)
      } else {
        expect(record.signedOut).toBe(true)
        // The one that still works at the server, whenever it arrived.
        expect(revoked).toContain(mine.at(-1)?.refresh_token)
        for (const { session } of [tab, other, make()]) {
          await session.ready
          expect(session.state.status).toBe('signed-out')
        }
      }
      const { value, error } = result as { value?: Response; error?: { code: string } }
      if (error) expect(error.code).toBe('signed_out')
      else expect(value?.status).toBe(200)
      for (const { authorization, isAfter } of sends) {
        if (isAfter) expect(old).not.toContain(authorization?.slice('Bearer '.length))
      }
    }
    for (const count of Object.values(reached)) expect(count).toBeGreaterThan(0)
  })

  it('a sign-out makes the waiting request go out without a token where the app wants that', async () => {
    const counts = { anonymous: 0, 'with its own token': 0 }
    for (let turns = 0; turns < 150 && counts['with its own token'] < 5; turns++) {
      const here = { where: wheres[0], act: acts[0], storage: storages[1] } as const
      const { sends, result } = await interleave({ ...here, whenSignedOut: 'send-anonymously' }, turns)
      const [send] = sends
      // It had its token already: such a request is not sent for anybody else.
      if (!send) expect(result.error).toMatchObject({ code: 'signed_out' })
      else {
        expect(sends).toHaveLength(1)
        expect(send.authorization === null).toBe(send.isAfter)
        expect(result.value).toMatchObject({ status: send.isAfter ? 401 : 200 })
        counts[send.isAfter ? 'anonymous' : 'with its own token']++
      }
    }
    for (const count of Object.values(counts)) expect(count).toBeGreaterThan(0)
  })
})
