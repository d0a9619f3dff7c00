import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { homeOf } from '../../src/engine/flight.ts'
import { type Reading, RecordStore } from '../../src/engine/record-store.ts'
import type { TokenStorage } from '../../src/index.ts'
import type { LiveRecord, StoredRecord } from '../../src/values/record.ts'
import { sleep } from '../../src/values/timers.ts'
import { secret } from '../support/no-leaks.ts'
import { deferred, settle } from './contexts-fakes.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const recordOf = (generation: number, grant = 'own'): LiveRecord => ({
  v: 1,
  id: 'sign-in',
  generation,
  grant,
  tokens: { accessToken: secret(`a${generation}`), tokenType: 'Bearer' },
  savedAtMs: 0,
})
const next = (reading: Reading): LiveRecord => recordOf(reading.what === 'value' ? reading.record.generation + 1 : 1)

function setUp(more: Partial<TokenStorage> = {}, home = homeOf({}, 'key')) {
  const items = new Map<string, string>()
  const calls: string[] = []
  const storage: TokenStorage = {
    getItem(key) {
      calls.push('get')
      return items.get(key)
    },
    setItem(key, value) {
      calls.push('set')
      items.set(key, value)
    },
    removeItem(key) {
      calls.push('remove')
      items.delete(key)
    },
    ...more,
  }
  const isOwn = (record: StoredRecord) => !('grant' in record) || record.grant === 'own'
  const store = new RecordStore({
    home,
    storage,
    key: 'key',
    storageTimeoutMs: 5000,
    isOwn,
    isInteractive: storage.interactive === true,
    isReadOnly: storage.readOnly === true,
  })
  const put = (record: unknown) => items.set('key', typeof record === 'string' ? record : JSON.stringify(record))
  const stored = () => JSON.parse(items.get('key') ?? 'null')
  return { store, items, calls, put, stored, home, storage }
}

describe('a reading', () => {
  it.each([
    [
      'a record',
      JSON.stringify(recordOf(3)),
      { what: 'value', record: recordOf(3), text: JSON.stringify(recordOf(3)) },
    ],
    ['nothing', undefined, { what: 'empty' }],
    ['null', null, { what: 'empty' }],
    ['a torn record', '{"v":1', { what: 'corrupt', text: '{"v":1' }],
    ['an empty string', '', { what: 'corrupt', text: '' }],
    ['what another grant wrote', JSON.stringify(recordOf(3, 'foreign')), { what: 'corrupt' }],
    ['what is no text', 7, { what: 'corrupt' }],
    ['what only reads as text', { toString: () => JSON.stringify(recordOf(3)) }, { what: 'corrupt' }],
  ])('of %s is there in the same turn, or when it comes', async (_what, value, reading) => {
    expect(setUp({ getItem: () => value as never }).store.read()).toMatchObject(reading)
    expect(await setUp({ getItem: async () => value as never }).store.read()).toMatchObject(reading)
  })

  it.each([
    ['for good', Object.assign(new Error('can not be decrypted'), { code: 'storage_corrupt' }), 'corrupt'],
    ['for now', new Error('locked'), 'unavailable'],
    ['for now, without a reason', undefined, 'unavailable'],
    ['for now, with null', null, 'unavailable'],
  ])('that fails %s neither throws nor rejects', async (_what, cause, what) => {
    const reading = what === 'corrupt' ? { what } : { what, cause }
    const throws = () => {
      throw cause
    }
    expect(setUp({ getItem: throws }).store.read()).toEqual(reading)
    expect(await setUp({ getItem: () => Promise.reject(cause) }).store.read()).toEqual(reading)
  })

  it('that hangs is unavailable in time', async () => {
    const { store } = setUp({ getItem: () => new Promise(() => undefined) })
    let reading: Reading | undefined
    void Promise.resolve(store.read()).then(now => {
      reading = now
    })
    await vi.advanceTimersByTimeAsync(4999)
    expect(reading).toBeUndefined()
    await vi.advanceTimersByTimeAsync(1)
    expect(reading).toMatchObject({
      what: 'unavailable',
      cause: { message: 'The storage did not answer within 5000 ms.' },
    })
  })
})

describe('an update', () => {
  it('writes what was decided on what was read, in the same turn', () => {
    const { store, put, stored } = setUp()
    expect(store.update(next)).toEqual({ what: 'written', reading: { what: 'empty' }, record: recordOf(1) })
    expect(stored()).toEqual(recordOf(1))
    put(recordOf(7))
    expect(store.update(next)).toMatchObject({ what: 'written', record: recordOf(8), reading: { record: recordOf(7) } })
    expect(stored()).toEqual(recordOf(8))
  })

  it('leaves alone what nobody decided about', () => {
    const { store, calls } = setUp()
    expect(store.update(() => undefined)).toEqual({ what: 'left', reading: { what: 'empty' } })
    expect(calls).toEqual(['get'])
  })

  it('of what can not be read decides nothing', () => {
    const cause = new Error('locked')
    const { store, calls } = setUp({
      getItem() {
        throw cause
      },
    })
    const decide = vi.fn()
    expect(store.update(decide)).toEqual({ what: 'failed', reading: { what: 'unavailable', cause }, cause })
    expect([decide.mock.calls, calls]).toEqual([[], []])
  })

  it('that can not be written says what was decided, and why not', async () => {
    const cause = new Error('full')
    const throws = () => {
      throw cause
    }
    const failed = { what: 'failed', reading: { what: 'empty' }, record: recordOf(1), cause }
    expect(setUp({ setItem: throws }).store.update(next)).toEqual(failed)
    expect(await setUp({ setItem: () => Promise.reject(cause) }).store.update(next)).toEqual(failed)
    expect(setUp({ readOnly: true }).store.update(next)).toMatchObject({
      what: 'failed',
      cause: { message: 'The storage is read-only.' },
    })
  })

  it('waits for a storage that takes its time', async () => {
    const { store, items } = setUp()
    const slow = setUp({
      getItem: async key => items.get(key),
      setItem: async (key, value) => void items.set(key, value),
    })
    expect(await slow.store.update(next)).toMatchObject({ what: 'written' })
    expect(store.read()).toMatchObject({ what: 'value', record: recordOf(1) })
  })
})

describe('compare and set', () => {
  function comparing(conflicts = 0) {
    const expected: unknown[] = []
    const made = setUp({
      replaceItem(key, before, value) {
        expected.push(before)
        const isSame = made.items.get(key) === before
        if (conflicts-- > 0 || !isSame) return false
        made.items.set(key, value)
        return true
      },
    })
    return { ...made, expected }
  }

  it('is asked with the very text that was read', () => {
    const { store, expected, put, calls } = comparing()
    store.update(next)
    put(`${JSON.stringify(recordOf(4))} `)
    expect(store.update(next)).toMatchObject({ what: 'written', record: recordOf(5) })
    expect(expected).toEqual([undefined, `${JSON.stringify(recordOf(4))} `])
    expect(calls).toEqual(['get', 'get'])
  })

  it('that says no leads to another look', () => {
    const { store, calls } = comparing(2)
    expect(store.update(next)).toMatchObject({ what: 'written', record: recordOf(1) })
    expect(calls).toEqual(['get', 'get', 'get'])
  })

  it('that says no nine times is a failure', () => {
    const { store, calls } = comparing(8)
    expect(store.update(next)).toMatchObject({ what: 'written' })
    expect(calls).toHaveLength(9)
    const worse = comparing(9)
    expect(worse.store.update(next)).toMatchObject({
      what: 'failed',
      record: recordOf(1),
      cause: { message: 'The record changed at every try to write it.' },
    })
    expect(worse.calls).toHaveLength(9)
  })

  it('compares a damaged text too, and not what can not be read', () => {
    const { store, expected, put } = comparing()
    put('torn')
    expect(store.update(next)).toMatchObject({ what: 'written' })
    expect(expected).toEqual(['torn'])
    const replaceItem = vi.fn()
    const sealed = setUp({
      replaceItem,
      getItem() {
        throw Object.assign(new Error(), { code: 'storage_corrupt' })
      },
    })
    expect(sealed.store.update(next)).toMatchObject({ what: 'written' })
    expect(replaceItem).not.toHaveBeenCalled()
    expect(sealed.stored()).toEqual(recordOf(1))
  })

  it('of two updates at once: what is decided while another write is under way is decided again after it', async () => {
    // The first write of all loses, and each operation takes its time.
    const times = { read: [1000, 2000, 2000, 0], write: [3000, 3000, 0] }
    let isFirst = true
    const { store, items, stored } = setUp({
      async getItem(key) {
        await sleep(times.read.shift() ?? 0)
        return items.get(key)
      },
      async replaceItem(key, before, value) {
        await sleep(times.write.shift() ?? 0)
        const isSame = !isFirst && items.get(key) === before
        isFirst = false
        if (isSame) items.set(key, value)
        return isSame
      },
    })
    const slow = store.update(next)
    const seen: Reading['what'][] = []
    const later = store.update(reading => {
      seen.push(reading.what)
      return next(reading)
    })
    await vi.advanceTimersByTimeAsync(30_000)
    expect(await slow).toMatchObject({ what: 'written', record: recordOf(1) })
    expect(await later).toMatchObject({ what: 'written', record: recordOf(2) })
    expect(seen).toEqual(['value']) // never on the empty storage that it read first
    expect(stored()).toEqual(recordOf(2))
  })

  it('counts only where it is a function, and false is a no only there', () => {
    const { store, stored } = setUp({ replaceItem: 'x' as never, setItem: () => false })
    expect(store.update(next)).toMatchObject({ what: 'written' })
    expect(stored()).toBeNull()
  })
})

describe('a write that hangs', () => {
  function hanging() {
    const writes: { value: string; end: ReturnType<typeof deferred<void>> }[] = []
    const made = setUp({
      setItem(key, value) {
        const end = deferred()
        writes.push({ value, end })
        return end.promise.then(() => void made.items.set(key, value))
      },
    })
    return { ...made, writes }
  }

  it('is given up in time, and says so', async () => {
    const { store } = hanging()
    const update = store.update(next)
    await vi.advanceTimersByTimeAsync(5000)
    expect(await update).toMatchObject({
      what: 'failed',
      record: recordOf(1),
      cause: { message: 'The storage did not save within 5000 ms.' },
    })
  })

  it('may still land: the next update comes after it', async () => {
    const { store, writes, stored } = hanging()
    void store.update(next)
    await vi.advanceTimersByTimeAsync(5000)
    const second = store.update(next)
    await settle()
    expect(writes).toHaveLength(1)
    writes[0]?.end.resolve()
    await settle()
    writes[1]?.end.resolve()
    expect(await second).toMatchObject({ what: 'written', record: recordOf(2) })
    expect(stored()).toEqual(recordOf(2))
  })

  it('for good is a failure of the next, which decides nothing', async () => {
    const { store, writes } = hanging()
    void store.update(next)
    await vi.advanceTimersByTimeAsync(5000)
    const decide = vi.fn(next)
    const second = store.update(decide)
    await vi.advanceTimersByTimeAsync(10_000)
    expect(await second).toMatchObject({
      what: 'failed',
      cause: { message: 'The storage did not answer within 5000 ms.' },
    })
    expect([decide.mock.calls.length, writes.length]).toEqual([0, 1])
  })

  it('that fails late is no harm to the next', async () => {
    const { store, writes } = hanging()
    void store.update(next)
    await vi.advanceTimersByTimeAsync(5000)
    const second = store.update(next)
    writes[0]?.end.reject(new Error('gone'))
    await settle()
    writes[1]?.end.resolve()
    expect(await second).toMatchObject({ what: 'written', record: recordOf(1) })
  })
})

describe('operations on one home', () => {
  it('go one after the other, over all its stores', async () => {
    const order: string[] = []
    const ends: (() => void)[] = []
    const slow = (name: string): Partial<TokenStorage> => ({
      getItem() {
        order.push(`${name} begins`)
        return new Promise(resolve => {
          ends.push(() => {
            order.push(`${name} ends`)
            resolve(null)
          })
        })
      },
    })
    const one = setUp(slow('one'))
    const other = setUp(slow('other'), one.home)
    const readings = [one.store.read(), other.store.read()]
    await settle()
    expect(order).toEqual(['one begins'])
    ends[0]?.()
    await settle()
    expect(order).toEqual(['one begins', 'one ends', 'other begins'])
    ends[1]?.()
    expect(await Promise.all(readings)).toEqual([{ what: 'empty' }, { what: 'empty' }])
    await settle()
    expect(one.home.storing).toBeUndefined()
  })

  it('of which three were asked for at once still go one after the other', async () => {
    const order: string[] = []
    const ends: (() => void)[] = []
    const slow = (name: string): Partial<TokenStorage> => ({
      getItem() {
        order.push(name)
        return new Promise(resolve => ends.push(() => resolve(null)))
      },
    })
    const one = setUp(slow('one'))
    void one.store.read()
    void setUp(slow('two'), one.home).store.read()
    ends[0]?.()
    await settle()
    void setUp(slow('three'), one.home).store.read()
    await settle()
    expect(order).toEqual(['one', 'two'])
    ends[1]?.()
    await settle()
    expect(order).toEqual(['one', 'two', 'three'])
    ends[2]?.()
    await settle()
    expect(one.home.storing).toBeUndefined()
  })

  it('wait for one that hangs no longer than its own bound', async () => {
    const hung = setUp({ setItem: () => new Promise(() => undefined) })
    const other = setUp({}, hung.home)
    void hung.store.update(next)
    const reading = other.store.read()
    await vi.advanceTimersByTimeAsync(5000)
    expect(await reading).toEqual({ what: 'empty' })
  })

  it('of a synchronous storage wait for nobody', () => {
    const { store, home } = setUp()
    expect(store.read()).toEqual({ what: 'empty' })
    expect(home.storing).toBeUndefined()
  })
})

describe('a storage that prompts', () => {
  it('is read once for the life of the process, unless it was not there', () => {
    let isLocked = true
    const { store, calls, put } = setUp({ interactive: true })
    const prompts = setUp({
      interactive: true,
      getItem() {
        if (isLocked) throw new Error('cancelled')
        return JSON.stringify(recordOf(1))
      },
    })
    expect(prompts.store.read()).toMatchObject({ what: 'unavailable' })
    isLocked = false
    expect(prompts.store.read()).toMatchObject({ what: 'value' })
    put(recordOf(1))
    store.read()
    put(recordOf(2))
    expect(store.read()).toMatchObject({ record: recordOf(1) })
    expect(calls).toEqual(['get'])
  })

  it('knows what it wrote', () => {
    const { store, calls } = setUp({ interactive: true })
    store.update(next)
    store.update(next)
    expect(store.read()).toMatchObject({ what: 'value', record: recordOf(2), text: JSON.stringify(recordOf(2)) })
    expect(calls).toEqual(['get', 'set', 'set'])
  })

  it('is read again where somebody else wrote', () => {
    const { store, put, items } = setUp({
      interactive: true,
      replaceItem(key, before, value) {
        if (items.get(key) !== before) return false
        items.set(key, value)
        return true
      },
    })
    store.read()
    put(recordOf(7))
    expect(store.update(next)).toMatchObject({ what: 'written', record: recordOf(8) })
  })

  it('joins a prompt that is open, and nobody waits for it for ever', async () => {
    const prompt = deferred<string>()
    const getItem = vi.fn(() => prompt.promise)
    const { store } = setUp({ interactive: true, getItem })
    const first = store.read()
    await vi.advanceTimersByTimeAsync(4000)
    const second = store.read()
    await vi.advanceTimersByTimeAsync(1000)
    expect(await first).toMatchObject({ what: 'unavailable' })
    prompt.resolve(JSON.stringify(recordOf(1)))
    expect(await second).toMatchObject({ what: 'value' })
    expect(store.read()).toMatchObject({ what: 'value' })
    expect(getItem).toHaveBeenCalledTimes(1)
  })

  it('does not keep a second operation waiting for the prompt of the first', async () => {
    const prompt = deferred<null>()
    const { store, home } = setUp({ interactive: true, getItem: () => prompt.promise })
    void store.read()
    void store.update(next)
    expect(home.storing).toBeUndefined()
    prompt.resolve(null)
    await settle()
  })
})

describe('removing', () => {
  it('says whether the item is gone', async () => {
    const { store, put, items } = setUp()
    put(recordOf(1))
    expect(store.remove()).toBe(true)
    expect(items.size).toBe(0)
    const throws = () => {
      throw new Error('locked')
    }
    expect(setUp({ removeItem: throws }).store.remove()).toBe(false)
    expect(await setUp({ removeItem: async () => undefined }).store.remove()).toBe(true)
    expect(await setUp({ removeItem: () => Promise.reject(new Error('locked')) }).store.remove()).toBe(false)
    const hanging = setUp({ removeItem: () => new Promise(() => undefined) }).store.remove()
    await vi.advanceTimersByTimeAsync(5000)
    expect(await hanging).toBe(false)
  })
})
