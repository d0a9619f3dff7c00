import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createSession } from '../../src/index.ts'
import { createWorld, settle } from '../engine/contexts-fakes.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

it('a new context that starts while a successor is unsaved elsewhere does not spend the dead token', async () => {
  const w = createWorld()
  let full = false,
    writes = 0
  const storage = w.storage(w.items, {
    setItem: (k, v) => {
      if (full && ++writes > 1) throw new Error('full')
      w.items.set(k, v)
    },
  })
  const { session } = w.context({ storage })
  await session.adopt(w.server.signIn())
  await settle()
  full = true
  w.clock.advance(301_000)
  await session.fetch(api)
  await settle()
  const other = w.context()
  await other.session.ready
  const call = other.session.fetch(api).then(
    r => r.status,
    e => e.code,
  )
  await vi.advanceTimersByTimeAsync(2500)
  expect(await call).toBe(200)
  expect(w.server.stats.reuses).toBe(0)
})
it('signIn whose signal is aborted already', async () => {
  let asked = 0
  const session = createSession({
    resources: api,
    grant: {
      signIn: async (_: { signal: AbortSignal }) => {
        asked++
        return { access_token: secret('a') }
      },
    },
    fetch: async () => new Response('ok'),
  })
  const r = new Error('r')
  await expect(session.signIn({ signal: AbortSignal.abort(r) })).rejects.toBe(r)
  expect(session.state.status).toBe('signed-out')
  expect(asked).toBe(0)
})
