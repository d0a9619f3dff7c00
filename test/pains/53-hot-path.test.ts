import { expect, it, vi } from 'vitest'
import { createSession, type Lock, memoryStorage } from '../../src/index.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

const url = 'https://api.example.com/items'

async function setUp() {
  const memory = memoryStorage()
  const storage = {
    scope: 'shared' as const,
    getItem: vi.fn(memory.getItem),
    setItem: vi.fn(memory.setItem),
    removeItem: vi.fn(memory.removeItem),
  }
  const request = vi.fn<Lock['request']>(async (_name, _options, callback) => callback({}))
  const answer = new Response('ok')
  const raw = vi.fn(() => Promise.resolve(answer))
  const session = createSession({
    resources: 'https://api.example.com',
    grant: () => Promise.reject(new Error('not asked')),
    lock: { request },
    storage,
    clock: createClock(),
    fetch: raw as unknown as typeof fetch,
  })
  await session.adopt({ access_token: secret('a'), refresh_token: secret('r'), expires_in: 3600 })
  await new Promise(resolve => setImmediate(resolve))
  for (const spy of [storage.getItem, storage.setItem, request]) spy.mockClear()
  return { session, storage, request, raw, answer }
}

/** How many turns of the microtask queue a promise takes to settle. */
async function turnsOf(promise: Promise<unknown>): Promise<number> {
  let isSettled = false
  let turns = 0
  promise.then(() => {
    isSettled = true
  })
  while (!isSettled) {
    await null
    turns++
  }
  return turns
}

it('pain 53: a thousand calls with a fresh token ask for no lock and read no storage', async () => {
  const { session, storage, request, raw } = await setUp()
  for (let call = 0; call < 500; call++) await session.fetch(url)
  for (let call = 0; call < 500; call++) await session.getAccessToken()
  expect(raw).toHaveBeenCalledTimes(500)
  expect(request).not.toHaveBeenCalled()
  expect(storage.getItem).not.toHaveBeenCalled()
  expect(storage.setItem).not.toHaveBeenCalled()
})

it('pain 53: the request goes out in the caller’s own tick, and its answer takes one turn more than the platform’s', async () => {
  const { session, raw, answer } = await setUp()
  const call = session.fetch(url)
  expect(raw).toHaveBeenCalledTimes(1)
  expect(await call).toBe(answer)
  const own = await turnsOf(raw())
  expect(await turnsOf(session.fetch(url))).toBeLessThanOrEqual(own + 1)
})

it('pain 53: a body that can be read again is handed on as it is', async () => {
  const { session, raw } = await setUp()
  const body = new Blob(['x'])
  await session.fetch(url, { method: 'POST', body })
  const [, init] = raw.mock.calls[0] as unknown as [string, RequestInit]
  expect(init.body).toBe(body)
})
