import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { secret } from '../support/no-leaks.ts'
import { createWorld, deferred, settle } from './contexts-fakes.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

type World = ReturnType<typeof createWorld>

const read = ({ items, key }: World) => JSON.parse(items.get(key) ?? 'null')

/** Another context wrote, without having seen what was there, and told. */
async function put(world: World, record: object & { id: string; generation: number }): Promise<void> {
  world.items.set(world.key, JSON.stringify(record))
  world.network.join().postMessage({ from: 'x', what: 'changed', id: record.id, generation: record.generation })
  await settle()
}

/** Signed in for the second time, and the record of the first. */
async function signedInTwice() {
  const world = createWorld()
  const { session, events } = world.context()
  await session.adopt(world.server.signIn())
  await settle()
  const first = read(world)
  world.clock.advance(1000)
  await session.adopt(world.server.signIn())
  await settle()
  events.length = 0
  return { world, session, events, first, second: read(world) }
}

describe('of two sign-ins the later counts', () => {
  it('a sign-in says when it began, later than the one it found', async () => {
    const { first, second } = await signedInTwice()
    expect(second.begunAtMs).toBeGreaterThanOrEqual(first.begunAtMs + 1000)
  })

  it('also after the clock was set back', async () => {
    const world = createWorld()
    await world.context().session.adopt(world.server.signIn())
    const first = read(world)
    world.clock.advance(-3_600_000)
    await world.context().session.adopt(world.server.signIn())
    expect(read(world).begunAtMs).toBe(first.begunAtMs + 1)
  })

  it('a renewal of the earlier one that was written over it is written over in turn', async () => {
    const { world, events, first, second } = await signedInTwice()
    await put(world, { ...first, generation: second.generation + 5 })
    expect(read(world)).toMatchObject({ id: second.id, generation: second.generation + 6 })
    expect(events).toEqual([])
  })

  it('the tombstone of the earlier one ends nothing, whatever its generation', async () => {
    const { world, events, first, second } = await signedInTwice()
    const { id, begunAtMs } = first
    await put(world, { v: 1, id, begunAtMs, generation: second.generation + 5, signedOut: true } as never)
    expect(read(world)).toMatchObject({ id: second.id, generation: second.generation + 6 })
    expect(events).toEqual([])
  })

  it('the later one is followed, whatever its generation', async () => {
    const { world, events, second } = await signedInTwice()
    const tokens = { ...second.tokens, accessToken: secret('later') }
    await put(world, { ...second, id: 'later', begunAtMs: second.begunAtMs + 1, generation: second.generation, tokens })
    expect(events).toEqual(['signed-out replaced', 'signed-in'])
    expect(read(world).id).toBe('later')
  })

  it('where it is not known when one began, the higher generation counts', async () => {
    const { world, events, first, second } = await signedInTwice()
    const { begunAtMs: _unknown, ...record } = first
    await put(world, { ...record, generation: second.generation + 1 })
    expect(events).toEqual(['signed-out replaced', 'signed-in'])
  })
})

describe('a sign-out', () => {
  /** One whose storage fails while it is down, and that a test wakes. */
  function failing(world: World) {
    const state = { isDown: true }
    const unlessDown = <T>(value: T): T => {
      if (state.isDown) throw new Error('locked')
      return value
    }
    const storage = world.storage(world.items, {
      getItem: key => unlessDown(world.items.get(key)),
      setItem: (key, text) => void unlessDown(world.items).set(key, text),
      removeItem: key => void unlessDown(world.items).delete(key),
    })
    let wake: () => void = () => undefined
    const { session } = world.context({
      storage,
      wake: listener => {
        wake = listener
        return () => undefined
      },
    })
    return { session, state, wake: () => wake() }
  }

  it('that could neither look nor mark is not for a sign-in that begins later', async () => {
    const world = createWorld()
    const { session, state } = failing(world)
    await session.signOut()
    world.clock.advance(1000)
    state.isDown = false
    await world.context().session.adopt(world.server.signIn())
    await settle()
    expect(session.state).toMatchObject({ status: 'signed-in' })
    expect(read(world).signedOut).toBeUndefined()
  })

  it('that could neither look nor mark is for the sign-in that was there', async () => {
    const world = createWorld()
    await world.context().session.adopt(world.server.signIn())
    world.clock.advance(1000)
    const { session, state, wake } = failing(world)
    await session.signOut()
    state.isDown = false
    wake()
    await settle()
    expect(session.state).toMatchObject({ status: 'signed-out' })
    expect(read(world)).toMatchObject({ signedOut: true })
  })

  it('that could not be marked is for the sign-in which its own had replaced, too', async () => {
    const world = createWorld()
    await world.context().session.adopt(world.server.signIn())
    const first = read(world)
    const { session, state, wake } = failing(world)
    state.isDown = false
    await session.ready
    state.isDown = true
    world.clock.advance(1000)
    await session.adopt(world.server.signIn())
    await session.signOut()
    expect(read(world).id).toBe(first.id)
    state.isDown = false
    wake()
    await settle()
    expect(read(world)).toMatchObject({ id: first.id, signedOut: true })
  })

  it('is not undone by a read that began before it', async () => {
    const world = createWorld()
    const gate = deferred()
    let isSlow = false
    const storage = world.storage(world.items, {
      async getItem(key) {
        const text = world.items.get(key)
        if (isSlow) await gate.promise
        return text
      },
    })
    const { session, events } = world.context({ storage })
    await session.adopt(world.server.signIn())
    await settle()
    world.clock.advance(1000)
    const { id, ...record } = read(world)
    isSlow = true
    const next = { ...record, id: 'next', begunAtMs: record.begunAtMs + 1000, generation: record.generation + 1 }
    await put(world, next)
    const out = session.signOut()
    gate.resolve()
    await out
    await settle()
    expect(events).toEqual(['signed-in', 'signed-out requested'])
    expect(read(world)).toMatchObject({ id: 'next', signedOut: true })
  })

  it.each([
    ['before it', -1000, 'signed-out'],
    ['after it', 1000, 'signed-in'],
  ])('whose first read was slow is for what that finds, if it began %s', async (_when, ms, status) => {
    const world = createWorld()
    const other = world.context().session
    await other.adopt(world.server.signIn())
    const live = read(world)
    other.dispose()
    const gate = deferred()
    let isFirst = true
    const storage = world.storage(world.items, {
      async getItem(key) {
        if (isFirst) await gate.promise
        const text = isFirst ? JSON.stringify(live) : world.items.get(key)
        isFirst = false
        return text
      },
    })
    const { session } = world.context({ storage })
    void session.state
    live.begunAtMs = world.clock.now() + ms
    const out = session.signOut()
    // Evicted by the time that the sign-out looks.
    world.items.delete(world.key)
    gate.resolve()
    await out
    await put(world, { ...live, generation: live.generation + 5 })
    expect(session.state.status).toBe(status)
  })

  it('that begins before the first read is done keeps the tombstone that this read finds in mind', async () => {
    const world = createWorld()
    const first = world.context()
    await first.session.adopt(world.server.signIn())
    const live = read(world)
    await first.session.signOut()
    let reads = 0
    const storage = world.storage(world.items, {
      async getItem(key) {
        if (++reads > 1) throw new Error('locked')
        return world.items.get(key)
      },
    })
    const { session, events } = world.context({ storage })
    void session.state
    await session.signOut()
    reads = -10
    first.session.dispose()
    await put(world, { ...live, generation: live.generation + 5, begunAtMs: undefined })
    expect(events).not.toContain('signed-in')
    expect(session.state).toMatchObject({ status: 'signed-out' })
  })
})
