import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { Lock } from '../../src/index.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { createWorld } from './contexts-fakes.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** A token that has expired, a lock that only who steals it gets, and a storage that somebody else writes to after each claim. */
async function expired(afterClaim: (record: Record<string, unknown>) => object | undefined) {
  const world = createWorld()
  const steals: string[] = []
  const lock: Lock = {
    async request(name, { steal, signal }, callback) {
      if (steal) {
        steals.push(name)
        return callback()
      }
      return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
    },
  }
  const storage = world.storage(world.items, {
    setItem(key, text) {
      const record = JSON.parse(text)
      const next = record.attempt && steals.length === 0 ? afterClaim(record) : undefined
      world.items.set(key, next ? JSON.stringify(next) : text)
    },
  })
  const { session, events } = world.context({ lock, storage, renewal: { lockTimeoutMs: 1000 } })
  await session.adopt(world.server.signIn())
  world.clock.advance(301_000)
  const answer = session.fetch(api).then(
    ({ status }) => status,
    error => error.code,
  )
  await vi.advanceTimersByTimeAsync(10_000)
  return { answer: await answer, steals, events, world }
}

it('who claims to take over the lock of a holder that gives no sign of life takes it', async () => {
  const { answer, steals } = await expired(() => undefined)
  expect(answer).toBe(200)
  expect(steals).toHaveLength(1)
})

it('of two that claim it at once only the one whose claim stands takes it', async () => {
  const { answer, steals, world } = await expired(record => ({ ...record, attempt: { by: 'other', atMs: Date.now() } }))
  expect(answer).toBe('lock_timeout')
  expect(steals).toEqual([])
  expect(world.spent).toEqual([])
})

it('a sign-out that is found in the place of the claim ends the sign-in', async () => {
  const { answer, steals, events } = await expired(({ id, generation }) => ({
    v: 1,
    id,
    generation: Number(generation) + 1,
    signedOut: true,
  }))
  expect(answer).toBe('signed_out')
  expect(steals).toEqual([])
  expect(events).toContain('signed-out elsewhere')
})
