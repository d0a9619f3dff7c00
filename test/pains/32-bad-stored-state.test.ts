import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { api } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { asyncStorage, caught, createRealm, createWorld, pass, settle } from './support.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const id = 'a'.repeat(32)

/** A record as it stands after a sign-in, and a server that knows its tokens. */
function createStored() {
  const world = createWorld()
  const {
    access_token,
    refresh_token = '',
    expires_in,
  } = world.server.signIn() as { access_token: string; refresh_token?: string; expires_in: number }
  const savedAtMs = world.clock.now()
  const tokens = {
    accessToken: access_token,
    tokenType: 'Bearer',
    refreshToken: refresh_token,
    expiresAtMs: savedAtMs + expires_in * 1000,
  }
  const record = { v: 1, id, generation: 3, grant: 'custom', tokens, savedAtMs }
  return { ...world, world, record, text: JSON.stringify(record) }
}

/** Starts on what is stored, and looks at everything that may throw or hang. */
async function start(stored: ReturnType<typeof createStored>, text: string, isAsync: boolean) {
  const { world, items, key } = stored
  items.set(key, text)
  const { session, events } = createRealm(world, { storage: isAsync ? asyncStorage(items) : world.storage() })
  const { state } = session
  expect(['starting', 'signed-in', 'signed-out']).toContain(state.status)
  await session.ready
  const call = caught(session.fetch(api))
  await pass(world.clock, 3000)
  return { session, events, result: await call }
}

describe('pain 32: whatever is stored', () => {
  const json = fc.json()
  const cut = fc.nat(400).map(length => ({ cut: length }))
  const changed = fc.record({
    field: fc.constantFrom('v', 'id', 'generation', 'grant', 'tokens', 'savedAtMs', 'attempt', 'refused', 'signedOut'),
    value: fc.jsonValue(),
  })
  const inner = fc.record({
    token: fc.constantFrom('accessToken', 'tokenType', 'refreshToken', 'expiresAtMs', 'scope', 'idToken'),
    value: fc.jsonValue(),
  })

  it('a session is made, and tells in its time who is signed in: nothing throws, nothing hangs', async () => {
    const seen = { 'signed-in': 0, 'signed-out': 0 }
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(json, fc.string(), fc.string({ unit: 'grapheme' }), cut, changed, inner),
        fc.boolean(),
        async (damage, isAsync) => {
          const stored = createStored()
          const { record, text } = stored
          const damaged =
            typeof damage === 'string'
              ? damage
              : 'cut' in damage
                ? text.slice(0, damage.cut)
                : 'field' in damage
                  ? JSON.stringify({ ...record, [damage.field]: damage.value })
                  : JSON.stringify({ ...record, tokens: { ...record.tokens, [damage.token]: damage.value } })
          const { session, events, result } = await start(stored, damaged, isAsync)
          if (result.error) expect(result.error).toMatchObject({ name: 'SessionError' })
          const { status } = session.state
          expect(status).not.toBe('starting')
          seen[status as keyof typeof seen]++
          // What can not be read stays where it is, until somebody signs in, and the app is told.
          if (events.includes('signed-out storage_corrupt')) expect(stored.items.get(stored.key)).toBe(damaged)
          expect(stored.server.stats.reuses).toBe(0)
          await session.adopt(stored.server.signIn())
          expect((await session.fetch(api)).status).toBe(200)
          session.dispose()
        },
      ),
      { numRuns: 300 },
    )
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(20)
  }, 30_000)

  const strange: [what: string, text: (text: string) => string][] = [
    ['a record that was cut', text => text.slice(0, -1)],
    ['a byte order mark', text => `\uFEFF${text}`],
    ['another library’s data', () => JSON.stringify({ access_token: secret('foreign'), expires_at: 1 })],
    ['an array', () => '[]'],
    ['null', () => 'null'],
    ['nothing between the quotes', () => ''],
    ['a record of a version to come', text => text.replace('"v":1', '"v":2')],
    ['a record of wrong types', text => text.replace('"generation":3', '"generation":"3"')],
  ]
  it.each(strange)(
    '%s is signed out with the reason storage_corrupt, told once, and left where it is',
    async (_what, damage) => {
      for (const isAsync of [false, true]) {
        const stored = createStored()
        const text = damage(stored.text)
        const { session, events, result } = await start(stored, text, isAsync)
        expect(session.state).toEqual({ status: 'signed-out', reason: 'storage_corrupt' })
        expect(events).toEqual(['signed-out storage_corrupt'])
        expect(result.error).toMatchObject({ code: 'signed_out' })
        expect(stored.items.get(stored.key)).toBe(text)
        expect(stored.spent).toEqual([])
        await session.adopt(stored.server.signIn())
        expect(stored.items.get(stored.key)).toContain(secret('refresh-2'))
      }
    },
  )

  const odd: [what: string, change: (record: ReturnType<typeof createStored>['record']) => object][] = [
    ['an expiry of 1970', record => ({ ...record, tokens: { ...record.tokens, expiresAtMs: 0 } })],
    ['a negative expiry', record => ({ ...record, tokens: { ...record.tokens, expiresAtMs: -1 } })],
    ['a birth of 1970', record => ({ ...record, savedAtMs: 0, tokens: { ...record.tokens, expiresAtMs: 300_000 } })],
    [
      'an expiry long ago',
      record => ({ ...record, tokens: { ...record.tokens, expiresAtMs: record.savedAtMs - 1e9 } }),
    ],
    [
      'an attempt that nobody ended',
      record => ({
        ...record,
        tokens: { ...record.tokens, expiresAtMs: 1 },
        attempt: { by: 'a dead context', atMs: 1 },
      }),
    ],
    [
      'a back-off that ended',
      record => ({
        ...record,
        tokens: { ...record.tokens, expiresAtMs: 1 },
        attempt: { by: 'another', atMs: 1, retryAtMs: 2 },
      }),
    ],
    [
      'a back-off until the year 3000',
      record => ({
        ...record,
        tokens: { ...record.tokens, expiresAtMs: 1 },
        attempt: { by: 'another', atMs: 1, retryAtMs: 32_503_680_000_000 },
      }),
    ],
  ]
  it.each(odd)('a record with a refresh token and %s is tried before anybody is signed out', async (_what, change) => {
    for (const isAsync of [false, true]) {
      const stored = createStored()
      const { session, events, result } = await start(stored, JSON.stringify(change(stored.record)), isAsync)
      expect(result.value).toMatchObject({ status: 200 })
      expect(stored.spent).toEqual([secret('refresh-1')])
      expect(session.state.status).toBe('signed-in')
      expect(events).toEqual(['renewed'])
    }
  })

  it('fields that this version does not know are kept through renewals, back-offs and refusals', async () => {
    const stored = createStored()
    const { world, items, key, record, clock } = stored
    items.set(key, JSON.stringify({ ...record, later: { what: 'a version to come writes' } }))
    let fault: Response | undefined
    const { session } = createRealm(world, {
      grant: (tokens, context) => (fault ? Promise.reject(fault) : world.grant.renew(tokens, context)),
    })
    const knows = () =>
      expect(JSON.parse(items.get(key) ?? '{}')).toMatchObject({ id, later: { what: 'a version to come writes' } })
    await session.renew()
    await settle()
    expect(items.get(key)).toContain(secret('refresh-2'))
    knows()
    fault = new Response(null, { status: 503 })
    const down = caught(session.renew())
    await pass(clock, 2000)
    await down
    expect(items.get(key)).toContain('retryAtMs')
    knows()
    await pass(clock, 10_000)
    fault = Response.json({ error: 'invalid_grant' }, { status: 400 })
    const dead = caught(session.renew())
    await pass(clock, 3000)
    await dead
    expect(items.get(key)).toContain('"refused":true')
    knows()
  })
})
