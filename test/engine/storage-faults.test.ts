import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { api } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { createWorld, settle } from './contexts-fakes.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const hang = () => new Promise<never>(() => undefined)
const ways: [how: string, fault: () => never | Promise<never>][] = [
  [
    'throws',
    () => {
      throw new Error('User interaction is not allowed. -25308')
    },
  ],
  ['rejects', () => Promise.reject(new Error('QuotaExceededError'))],
  ['rejects with nothing', () => Promise.reject(undefined)],
  ['hangs', hang],
]

/** A storage whose reads and writes can be broken and healed. */
function createFaulty(scope: 'shared' | 'context' = 'shared') {
  const world = createWorld()
  const faults: {
    read?: (() => never | Promise<never>) | undefined
    write?: (() => never | Promise<never>) | undefined
  } = {}
  const { items } = world
  const storage = world.storage(items, {
    scope,
    getItem: key => (faults.read ? faults.read() : items.get(key)),
    setItem: (key, value) => (faults.write ? faults.write() : void items.set(key, value)),
    removeItem: key => (faults.write ? faults.write() : void items.delete(key)),
  })
  return { ...world, faults, ...world.context({ storage }) }
}

async function caught(call: Promise<unknown>) {
  const result = call.then(
    value => ({ value }),
    error => ({ error }),
  )
  await vi.advanceTimersByTimeAsync(20_000)
  return result as Promise<{ value?: unknown; error?: unknown }>
}

describe.each(ways)('a storage that %s', (_how, fault) => {
  it('at the first read is storage_unavailable, nothing is wiped, and the next call tries again', async () => {
    const { session, faults, items, key, context, server, events } = createFaulty()
    await context().session.adopt(server.signIn())
    const before = items.get(key)
    faults.read = fault
    expect((await caught(session.fetch(api))).error).toMatchObject({ code: 'storage_unavailable', retryable: true })
    const { state } = session
    // Looking at the state may have begun another read.
    await vi.advanceTimersByTimeAsync(5000)
    expect(state).toMatchObject({ status: 'starting', error: { code: 'storage_unavailable' } })
    expect(items.get(key)).toBe(before)
    expect(events).toEqual(expect.arrayContaining(['storage-failed']))
    expect(events.join()).not.toContain('signed-out')
    faults.read = undefined
    expect((await caught(session.fetch(api))).value).toMatchObject({ status: 200 })
  })

  it('before a renewal is storage_unavailable, and the refresh token is not spent', async () => {
    const { session, faults, items, key, server, clock, spent } = createFaulty()
    await session.adopt(server.signIn())
    const before = items.get(key)
    clock.advance(301_000)
    faults.read = fault
    expect((await caught(session.fetch(api))).error).toMatchObject({ code: 'storage_unavailable' })
    expect(spent).toEqual([])
    expect(items.get(key)).toBe(before)
    expect(session.state.status).toBe('signed-in')
    faults.read = undefined
    expect((await caught(session.fetch(api))).value).toMatchObject({ status: 200 })
    expect(spent).toEqual([secret('refresh-1')])
  })

  it('at the write ahead of a renewal keeps the refresh token unspent', async () => {
    const { session, faults, server, clock, spent } = createFaulty()
    await session.adopt(server.signIn())
    await settle()
    clock.advance(301_000)
    faults.write = fault
    expect((await caught(session.fetch(api))).error).toMatchObject({ code: 'storage_unavailable' })
    expect(spent).toEqual([])
  })

  it('at the first write keeps a sign-in in memory, says storage-failed and saves it later', async () => {
    const { session, faults, server, items, key, events } = createFaulty()
    await session.ready
    faults.write = fault
    expect((await caught(session.adopt(server.signIn()))).error).toBeUndefined()
    expect(events).toEqual(['signed-in', 'storage-failed'])
    expect((await session.fetch(api)).status).toBe(200)
    expect(items.has(key)).toBe(false)
    if (fault === hang) return
    faults.write = undefined
    await vi.advanceTimersByTimeAsync(120_000)
    expect(items.get(key)).toContain(secret('refresh-1'))
  })

  it('never costs a request whose token works', async () => {
    const { session, faults, server } = createFaulty()
    await session.adopt(server.signIn())
    await settle()
    faults.read = fault
    faults.write = fault
    for (let call = 0; call < 3; call++) expect((await session.fetch(api)).status).toBe(200)
  })

  it('does not keep a user from signing out: local at once, the promise settles, the app is told', async () => {
    const { session, faults, server, events } = createFaulty()
    await session.adopt(server.signIn())
    await settle()
    faults.write = fault
    const done = session.signOut()
    expect(session.state).toEqual({ status: 'signed-out', reason: 'requested' })
    expect(await caught(done)).toEqual({ value: undefined })
    expect(events).toContain('storage-failed')
  })
})

describe('a successor that can not be saved', () => {
  async function unsaved(fault: () => never | Promise<never>, hasOther = false) {
    const faulty = createFaulty()
    const { session, faults, server, clock } = faulty
    await session.adopt(server.signIn())
    const other = hasOther ? faulty.context() : undefined
    await other?.session.ready
    await settle()
    clock.advance(301_000)
    let writes = 0
    faults.write = undefined
    // The write ahead works, the one of the answer does not.
    const { items } = faulty
    const set = items.set.bind(items)
    items.set = (key, value) => {
      if (++writes === 1) return set(key, value)
      faults.write = fault
      items.set = set
      throw new Error('full')
    }
    const result = await caught(session.fetch(api))
    expect(result.value).toMatchObject({ status: 200 })
    expect(writes).toBe(2)
    return { ...faulty, other }
  }
  const full = () => Promise.reject(new Error('full'))

  it('serves from memory, and the app is told storage-failed', async () => {
    const { session, events, spent, items, key } = await unsaved(full)
    expect(events).toEqual(expect.arrayContaining(['renewed', 'storage-failed']))
    expect(await session.getAccessToken()).toBe(secret('access-2'))
    expect(spent).toEqual([secret('refresh-1')])
    expect(items.get(key)).toContain(secret('refresh-1'))
  })

  it('is written as soon as the storage works again', async () => {
    const { faults, items, key } = await unsaved(full)
    await vi.advanceTimersByTimeAsync(10_000)
    faults.write = undefined
    await vi.advanceTimersByTimeAsync(120_000)
    expect(items.get(key)).toContain(secret('refresh-2'))
  })

  it('is handed to another context that asks, which does not spend the dead one', async () => {
    const { other, spent, server, session } = await unsaved(full, true)
    const answers = caught(Promise.all([other?.session, session].map(async each => (await each?.fetch(api))?.status)))
    expect((await answers).value).toEqual([200, 200])
    expect(spent).toEqual([secret('refresh-1')])
    expect(server.stats.reuses).toBe(0)
  })

  it('never leads to the spent token being sent again from here', async () => {
    const { session, clock, spent, server, faults } = await unsaved(full)
    clock.advance(301_000)
    await caught(session.fetch(api))
    faults.write = undefined
    await caught(session.fetch(api))
    expect(spent.filter(token => token === secret('refresh-1'))).toHaveLength(1)
    expect(server.stats.reuses).toBe(0)
    expect((await caught(session.fetch(api))).value).toMatchObject({ status: 200 })
  })
})

describe('a record that is nobody’s', () => {
  it.each([
    ['torn', '{"v":1,"id":'],
    ['foreign', '"hello"'],
    ['of a later version', '{"v":2}'],
  ])('and %s is never overwritten by a session that goes on from memory', async (_what, text) => {
    const { session, server, items, key, clock, spent } = createFaulty()
    await session.adopt(server.signIn())
    await settle()
    items.set(key, text)
    expect((await session.fetch(api)).status).toBe(200)
    clock.advance(301_000)
    expect((await caught(session.fetch(api))).error).toMatchObject({ code: 'signed_out' })
    expect(session.state).toEqual({ status: 'signed-out', reason: 'storage_corrupt' })
    expect(items.get(key)).toBe(text)
    expect(spent).toEqual([])
    await session.adopt(server.signIn())
    expect(items.get(key)).toContain(secret('refresh-2'))
  })
})

it('a sign-out before the first read that loses every comparison is told, and to the others too', async () => {
  const { context, server, items, network, storage } = createWorld()
  await context().session.adopt(server.signIn())
  await settle()
  const { session, events } = context({
    storage: storage(items, { getItem: async key => items.get(key), replaceItem: () => false }),
  })
  network.messages.length = 0
  await session.signOut()
  await settle()
  expect(events).toContain('storage-failed')
  expect(network.messages).toMatchObject([{ what: 'signed-out' }])
})
