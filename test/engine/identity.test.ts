import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { homeOf } from '../../src/engine/flight.ts'
import { createIdentity } from '../../src/engine/identity.ts'
import { RecordStore } from '../../src/engine/record-store.ts'
import { type AllEvents, createNews, createTokenManager } from '../../src/engine/token-manager.ts'
import type { TakeTurn } from '../../src/engine/turn.ts'
import type { TokenStorage } from '../../src/index.ts'
import { Emitter } from '../../src/values/events.ts'
import type { LiveRecord, StoredRecord, Tombstone } from '../../src/values/record.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { deferred, settle } from './contexts-fakes.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const nowMs = 1_800_000_000_000
const tokensOf = (name: string, expiresAtMs = nowMs + 300_000) => ({
  accessToken: secret(name),
  refreshToken: secret(`r-${name}`),
  tokenType: 'Bearer',
  expiresAtMs,
})
const recordOf = (id: string, generation: number, more: Partial<LiveRecord> = {}): LiveRecord => ({
  v: 1,
  id,
  generation,
  grant: 'own',
  tokens: tokensOf(`${id}-${generation}`),
  savedAtMs: nowMs,
  ...more,
})
const tombstoneOf = (id: string, generation: number): Tombstone => ({ v: 1, id, generation, signedOut: true })

interface Options {
  storage?: Partial<TokenStorage>
  stored?: StoredRecord | string
  signInAtStart?: () => Promise<unknown>
  canRenew?: boolean
  hasLock?: boolean
}

function setUp({ storage: more, stored, signInAtStart, canRenew = true, hasLock = true }: Options = {}) {
  const clock = createClock()
  const items = new Map<string, string>()
  const put = (record: StoredRecord | string) =>
    items.set('key', typeof record === 'string' ? record : JSON.stringify(record))
  if (stored !== undefined) put(stored)
  const storage: TokenStorage = {
    getItem: key => items.get(key),
    setItem: (key, value) => void items.set(key, value),
    removeItem: key => void items.delete(key),
    ...more,
  }
  const home = homeOf({}, 'key')
  const emitter = new Emitter<AllEvents>()
  const told: string[] = []
  emitter.on('signed-in', () => told.push('signed-in'))
  emitter.on('renewed', ({ how }) => told.push(how))
  emitter.on('signed-out', ({ reason }) => told.push(reason))
  emitter.on('storage-failed', ({ error }) => told.push(`failed ${(error.cause as Error)?.message}`))
  const revokeLate = vi.fn()
  const manager = createTokenManager({ home, clock, aheadMs: 60_000, emitter, canRenew: () => canRenew, revokeLate })
  manager.subscribe(() => told.push(`is ${manager.status}`))
  const store = new RecordStore({
    home,
    storage,
    key: 'key',
    storageTimeoutMs: 5000,
    isOwn: () => true,
    isInteractive: false,
    isReadOnly: false,
  })
  const contexts = { hello: vi.fn(), ask: vi.fn(async () => undefined), isBehind: false }
  const published: StoredRecord[] = []
  const turns: { name: string; timeoutMs: number; look: () => Promise<void> }[] = []
  const takeTurn: TakeTurn = async (name, { timeoutMs }, body) => {
    turns.push({ name, timeoutMs, look: () => body(undefined) })
    await body(undefined)
    return 'done'
  }
  const identity = createIdentity({
    grantName: 'own',
    clock,
    manager,
    store,
    contexts: contexts as never,
    emitter,
    publish: record => void published.push(record),
    takeTurn,
    lockName: id => (hasLock ? `lock of ${id}` : undefined),
    lockTimeoutMs: 35_000,
    storageFailure: cause => ({ code: 'storage_unavailable', message: 'why', cause }),
    revokeLate,
    signInAtStart,
  })
  const kept = () => JSON.parse(items.get('key') ?? 'null')
  return { identity, manager, clock, items, put, kept, told, contexts, published, turns, revokeLate, store, home }
}

/** Signed in with what was stored. */
function started(options: Options = {}) {
  const made = setUp({ stored: recordOf('mine', 5), ...options })
  void made.identity.start()
  made.told.length = 0
  return made
}

const broken =
  (message = 'locked') =>
  () => {
    throw new Error(message)
  }

describe('the start', () => {
  it('takes what is stored, in the same turn, and says hello', async () => {
    const { identity, manager, contexts, told } = setUp({ stored: recordOf('mine', 5) })
    expect(identity.start()).toBeUndefined()
    expect([manager.held?.record.id, manager.status]).toEqual(['mine', 'signed-in'])
    expect(contexts.hello).toHaveBeenCalledTimes(1)
    expect(told).toEqual([]) // nobody is called back inside of a getter
    await settle()
    expect(told).toEqual(['is signed-in'])
  })

  it.each([
    ['nothing', undefined, { status: 'signed-out' }],
    ['a tombstone', tombstoneOf('mine', 5), { status: 'signed-out' }],
    ['what is torn', '{', { status: 'signed-out', reason: 'storage_corrupt' }],
  ])('finds %s: signed out, without a hello', async (_what, stored, state) => {
    const { identity, manager, contexts } = setUp(stored === undefined ? {} : { stored })
    void identity.start()
    expect(manager.state).toEqual(state)
    expect(contexts.hello).not.toHaveBeenCalled()
    expect(manager.isSignedOutOnPurpose).toBe(_what === 'a tombstone')
    await settle()
  })

  it.each([
    ['expired', {}, false, 'signed-out'],
    ['refused', { refused: true as const }, false, 'signed-out'],
    ['expired', {}, true, 'signed-in'],
  ])('finds a dead token that is %s: %o, renewable: %s', (reason, more, canRenew, status) => {
    const stored = recordOf('mine', 5, { tokens: tokensOf('a', nowMs), savedAtMs: nowMs - 1, ...more })
    const { identity, manager } = setUp({ stored, canRenew })
    void identity.start()
    expect(manager.state).toMatchObject(status === 'signed-in' ? { status } : { status, reason })
  })

  it('finds a token that lives and can not be renewed: it serves', () => {
    const { identity, manager } = setUp({ stored: recordOf('mine', 5), canRenew: false })
    void identity.start()
    expect(manager.status).toBe('signed-in')
  })

  it('that fails is told, and tried again by the next', async () => {
    let isDown = true
    const { identity, manager, told } = setUp({
      stored: recordOf('mine', 5),
      storage: {
        getItem() {
          if (isDown) throw new Error('locked')
          return JSON.stringify(recordOf('mine', 5))
        },
      },
    })
    void identity.start()
    expect(manager.state).toMatchObject({ status: 'starting', error: { code: 'storage_unavailable' } })
    expect(told).toEqual([])
    await settle()
    expect(told).toEqual(['is starting', 'failed locked'])
    isDown = false
    void identity.start()
    expect(manager.status).toBe('signed-in')
    expect(identity.start()).toBeUndefined()
  })

  it('reads once for all who ask at once, and what was done meanwhile counts', async () => {
    const read = deferred<string>()
    const getItem = vi.fn(() => read.promise)
    const { identity, manager } = setUp({ storage: { getItem } })
    const both = [identity.start(), identity.start()]
    expect(getItem).toHaveBeenCalledTimes(1)
    manager.end('requested')
    read.resolve(JSON.stringify(recordOf('mine', 5)))
    await Promise.all(both)
    expect(manager.status).toBe('signed-out')
  })

  it('of a grant that signs in by itself waits for it where nothing is stored, and ends without it', async () => {
    const signIn = deferred<unknown>()
    const { identity, manager } = setUp({ signInAtStart: () => signIn.promise })
    void identity.start()
    expect(manager.status).toBe('starting')
    signIn.resolve(undefined)
    await settle()
    expect(manager.status).toBe('signed-out')
    const asked = vi.fn(async () => undefined)
    const stored = setUp({ stored: recordOf('mine', 5), signInAtStart: asked })
    void stored.identity.start()
    expect(asked).not.toHaveBeenCalled()
    const own = setUp({ signInAtStart: async () => own.identity.begin(tokensOf('own'), nowMs) })
    void own.identity.start()
    await settle()
    expect(own.manager.held?.record.tokens).toEqual(tokensOf('own'))
    expect(own.manager.status).toBe('signed-in')
  })
})

describe('a later read', () => {
  it('before the start is the start', () => {
    const { identity, manager } = setUp({ stored: recordOf('mine', 5) })
    void identity.read(false)
    expect(manager.status).toBe('signed-in')
  })

  it('adopts what is newer, at once or when it may be told', () => {
    const { identity, put, told } = started()
    put(recordOf('mine', 6))
    void identity.read(false)
    expect(told).toEqual(['is signed-in', 'adopted'])
    told.length = 0
    put(recordOf('mine', 7))
    const news = createNews()
    void identity.read(false, news.announce)
    expect(told).toEqual([])
    news.tell()
    expect(told).toEqual(['is signed-in', 'adopted'])
  })

  it('asks the others where something newer was announced', () => {
    const { identity, contexts } = started()
    void identity.read(true)
    expect(contexts.ask).not.toHaveBeenCalled()
    contexts.isBehind = true
    void identity.read(false)
    expect(contexts.ask).toHaveBeenCalledTimes(1)
  })

  it('of nothing is a sign-out elsewhere where somebody said so, and nothing else', () => {
    const { identity, items, manager, told } = started()
    items.clear()
    void identity.read(false)
    expect([manager.status, told]).toEqual(['signed-in', []])
    void identity.read(true)
    expect(manager.state).toEqual({ status: 'signed-out', reason: 'elsewhere' })
    void identity.read(true)
    expect(manager.epoch).toBe(1)
  })

  it('of nothing says nothing of what was not saved, or was saved since', async () => {
    const { identity, items, manager } = started()
    items.clear()
    const held = manager.held
    if (held) manager.note({ ...held, unsaved: true })
    void identity.read(true)
    expect(manager.status).toBe('signed-in')

    const read = deferred<null>()
    const reads = [read.promise]
    const other = setUp({
      storage: { getItem: () => (reads.shift() ?? null) as never, setItem: () => undefined },
    })
    void other.identity.start()
    read.resolve(null)
    await settle()
    await other.identity.begin(tokensOf('first'), nowMs)
    const second = deferred<null>()
    reads.push(second.promise)
    const reading = other.identity.read(true)
    const now = other.manager.held
    if (now) other.manager.note({ ...now, unsaved: true })
    second.resolve(null)
    await reading
    expect(other.manager.status).toBe('signed-in')
  })

  it('of nothing says nothing of the sign-in that came since', async () => {
    const read = deferred<null>()
    const reads: unknown[] = [JSON.stringify(recordOf('mine', 5)), read.promise]
    const { identity, manager } = setUp({
      storage: { getItem: () => reads.shift() as never, setItem: () => undefined },
    })
    void identity.start()
    const reading = identity.read(true)
    manager.begin({ record: recordOf('next', 6), life: manager.lifetimeOf(recordOf('next', 6)) })
    read.resolve(null)
    await reading
    expect(manager.held?.record.id).toBe('next')
  })

  it('that fails is told, and changes nothing', () => {
    let isDown = false
    const { identity, manager, told } = started({
      storage: {
        getItem() {
          if (isDown) throw new Error('locked')
          return JSON.stringify(recordOf('mine', 5))
        },
      },
    })
    isDown = true
    void identity.read(true)
    expect([manager.status, told]).toEqual(['signed-in', ['failed locked']])
  })

  it('that finds what has ended, or is older, writes what counts over it', () => {
    const { identity, put, kept, manager } = started()
    put(recordOf('mine', 4))
    void identity.read(false)
    expect(kept()).toEqual(recordOf('mine', 5))
    void identity.begin(tokensOf('next'), nowMs)
    const id = manager.held?.record.id
    put(recordOf('mine', 9, { begunAtMs: nowMs - 1 }))
    void identity.read(false)
    expect(kept()).toMatchObject({ id, generation: 10, tokens: tokensOf('next') })
  })
})

describe('a record that another context hands over', () => {
  it('is adopted and written where it was missing', () => {
    const { identity, manager, kept, told } = started()
    identity.receive(recordOf('mine', 7))
    expect([manager.held?.record, kept(), told]).toEqual([
      recordOf('mine', 7),
      recordOf('mine', 7),
      ['is signed-in', 'adopted'],
    ])
  })

  it('is not where it is not newer, or has ended', () => {
    const { identity, manager, kept, told } = started()
    identity.receive(recordOf('mine', 5, { tokens: tokensOf('other') }))
    identity.receive(recordOf('mine', 4))
    expect([manager.held?.record, kept(), told]).toEqual([recordOf('mine', 5), recordOf('mine', 5), []])
    manager.end('requested')
    identity.receive(recordOf('mine', 9))
    expect([manager.held, kept()]).toEqual([undefined, recordOf('mine', 5)])
  })

  it('is not written over what is as new, newer or damaged', () => {
    for (const stored of [recordOf('mine', 7, { savedAtMs: 1 }), recordOf('mine', 8)]) {
      const { identity, put, kept } = started()
      put(stored)
      identity.receive(recordOf('mine', 7))
      expect(kept()).toEqual(stored)
    }
    const { identity, put, items } = started()
    put('torn')
    identity.receive(recordOf('mine', 7))
    expect(items.get('key')).toBe('torn')
  })

  it('meets what is stored meanwhile: what is newer counts, and a sign-out is the end', () => {
    const { identity, put, manager } = started()
    put(recordOf('mine', 8))
    identity.receive(recordOf('mine', 7))
    expect(manager.held?.record).toEqual(recordOf('mine', 8))
    const out = started()
    out.put(tombstoneOf('mine', 3))
    out.identity.receive(recordOf('mine', 7))
    expect([out.manager.status, out.kept()]).toEqual(['signed-out', tombstoneOf('mine', 3)])
    const past = started()
    past.manager.supersede(recordOf('past', 2), true)
    past.put(recordOf('past', 30))
    past.identity.receive(recordOf('mine', 7))
    expect(past.kept()).toEqual(recordOf('past', 30)) // what goes above that is written by who reads it
  })

  it('that can not be written is told', () => {
    const { identity, manager, told } = started({ storage: { setItem: broken('full') } })
    identity.receive(recordOf('mine', 7))
    expect([manager.held?.record.generation, told.at(-1)]).toEqual([7, 'failed full'])
  })
})

describe('a sign-in', () => {
  it('is known and written at once, above all that was seen, published, and looked after under the lock', async () => {
    const { identity, manager, kept, published, contexts, turns, told } = started()
    contexts.hello.mockClear()
    void identity.begin(tokensOf('next'), nowMs - 1000, 4000)
    const record = manager.held?.record as LiveRecord
    expect(record).toMatchObject({
      v: 1,
      generation: 6,
      grant: 'own',
      tokens: tokensOf('next'),
      savedAtMs: nowMs - 1000,
    })
    expect(record.id).toMatch(/^[\da-f]{32}$/)
    expect(kept()).toEqual(record)
    expect([published, contexts.hello.mock.calls.length]).toEqual([[record], 1])
    expect(manager.held).toMatchObject({ life: { bornMonotonicMs: 4000 } })
    expect(manager.held).not.toHaveProperty('unsaved')
    expect(turns).toMatchObject([{ name: `lock of ${record.id}`, timeoutMs: 35_000 }])
    expect(told).toEqual(['replaced', 'is signed-in', 'signed-in'])
    await settle()
  })

  it('goes above what others stored meanwhile', () => {
    const { identity, put, kept, manager } = started()
    put(recordOf('other', 40, { begunAtMs: nowMs + 5 }))
    void identity.begin(tokensOf('next'), nowMs)
    expect(kept()).toMatchObject({ generation: 41, begunAtMs: nowMs + 6 })
    expect([manager.seen, manager.isSignedOut('other')]).toEqual([41, false])
    expect(manager.meet(recordOf('other', 99, { begunAtMs: nowMs + 5 }))).toBe('stale')
  })

  it('goes above what was seen, also where nothing is stored any more', () => {
    const { identity, items, kept } = started()
    items.clear()
    void identity.begin(tokensOf('next'), nowMs)
    expect(kept().generation).toBe(6)
  })

  it('writes over what is damaged', () => {
    const { identity, put, kept } = started()
    put('torn')
    void identity.begin(tokensOf('next'), nowMs)
    expect(kept()).toMatchObject({ tokens: tokensOf('next') })
  })

  it('that can not be saved serves, is told and tried again: 1 s, then twice as long each time, up to a minute', async () => {
    let isFull = true
    const writes: number[] = []
    const { identity, manager, told, published, turns, items } = started({
      storage: {
        setItem(key, value) {
          writes.push(Date.now())
          if (isFull) throw new Error('full')
          items.set(key, value)
        },
      },
    })
    void identity.begin(tokensOf('next'), nowMs)
    expect(manager.held).toMatchObject({ unsaved: true, record: { tokens: tokensOf('next') } })
    expect(told.at(-1)).toBe('failed full')
    expect([published.length, turns]).toEqual([1, []])
    await vi.advanceTimersByTimeAsync(243_000)
    const pauses = writes.slice(1).map((at, index) => at - (writes[index] as number))
    expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000])
    isFull = false
    await vi.advanceTimersByTimeAsync(60_000)
    expect(manager.held).not.toHaveProperty('unsaved')
    expect(vi.getTimerCount()).toBe(0)
    expect(published).toHaveLength(2)
  })

  it('stops trying once the session is disposed', () => {
    const { identity } = started({ storage: { setItem: broken('full') } })
    void identity.begin(tokensOf('next'), nowMs)
    expect(vi.getTimerCount()).toBe(1)
    identity.stop()
    expect(vi.getTimerCount()).toBe(0)
    setUp().identity.stop() // one that never began to
  })

  it('that is over before it is written is not written', async () => {
    const read = deferred<string | null>()
    const reads: unknown[] = [null]
    const written: string[] = []
    const { identity, manager, published, items } = setUp({
      storage: {
        getItem: () => (reads.length ? reads.shift() : read.promise) as never,
        setItem(key, value) {
          written.push(JSON.parse(value).tokens.accessToken)
          items.set(key, value)
        },
      },
    })
    void identity.start()
    const first = identity.begin(tokensOf('first'), nowMs)
    const second = identity.begin(tokensOf('second'), nowMs)
    read.resolve(null)
    await Promise.all([first, second])
    expect(manager.held?.record.tokens).toEqual(tokensOf('second'))
    expect([published.length, written]).toEqual([1, [secret('second')]])
    expect(items.get('key')).toContain(secret('second'))
  })

  it('under a lock of its caller is told when that is free, and looks no further', () => {
    const { identity, told, turns, published } = started()
    const news = createNews()
    void identity.begin(tokensOf('next'), nowMs, undefined, news.announce)
    expect([told, turns, published.length]).toEqual([[], [], 1])
    news.tell()
    expect(told).toEqual(['replaced', 'is signed-in', 'signed-in'])
  })

  it('where nobody else can hold it looks no further, and is saved all the same', () => {
    const { identity, turns, manager } = started({ hasLock: false })
    void identity.begin(tokensOf('next'), nowMs)
    expect(turns).toEqual([])
    expect(manager.held).not.toHaveProperty('unsaved')
  })

  it('that is not written yet is not ended by an empty storage', async () => {
    const write = deferred()
    const { identity, manager } = setUp({ storage: { setItem: () => write.promise }, hasLock: false })
    void identity.start()
    const done = identity.begin(tokensOf('next'), nowMs)
    expect(manager.held?.unsaved).toBe(true)
    write.resolve()
    await done
    expect(manager.held?.unsaved).toBeUndefined()
  })

  it('finds under the lock who wrote over it, and tells once the lock is free', async () => {
    const { identity, put, turns, told, manager } = started()
    void identity.begin(tokensOf('next'), nowMs)
    await settle()
    told.length = 0
    put(recordOf('thief', 50))
    const look = turns[0]?.look
    await look?.()
    expect([manager.held?.record.id, told]).toEqual(['thief', []])
  })
})

describe('a sign-out', () => {
  it('is known and marked at once, and gives the tokens that are left to revoke', () => {
    const { identity, manager, kept, published, turns } = started()
    expect(identity.end()).toEqual(tokensOf('mine-5'))
    expect(manager.state).toEqual({ status: 'signed-out', reason: 'requested' })
    expect(kept()).toEqual(tombstoneOf('mine', 6))
    expect(published).toEqual([tombstoneOf('mine', 6)])
    expect(turns).toMatchObject([{ name: 'lock of mine' }])
    expect(manager.seen).toBe(6)
  })

  it('of what others renewed meanwhile gives the newer tokens, also of another sign-in', () => {
    for (const id of ['mine', 'other']) {
      const { identity, put, kept, manager } = started()
      put(recordOf(id, 9))
      expect(identity.end()).toEqual(tokensOf(`${id}-9`))
      expect(kept()).toEqual(tombstoneOf(id, 10))
      expect(manager.isSignedOut(id)).toBe(true)
    }
  })

  it('counts what it wrote, without another look', () => {
    for (const id of ['mine', 'other']) {
      const { identity, put, manager } = started({ hasLock: false })
      put(recordOf(id, 9))
      identity.end()
      expect([manager.seen, manager.isSignedOut(id)]).toEqual([10, true])
    }
  })

  it('of what is older in the storage gives its own', () => {
    const { identity, put, kept } = started()
    put(recordOf('mine', 4))
    expect(identity.end()).toEqual(tokensOf('mine-5'))
    expect(kept()).toEqual(tombstoneOf('mine', 6))
    const same = started()
    same.put(recordOf('mine', 5, { tokens: tokensOf('written-over') }))
    expect(same.identity.end()).toEqual(tokensOf('written-over'))
  })

  it('that was done already elsewhere is not written again', () => {
    const { identity, put, kept, published } = started()
    put(tombstoneOf('mine', 8))
    identity.end()
    expect(kept()).toEqual(tombstoneOf('mine', 8))
    expect(published).toMatchObject([{ id: 'mine', signedOut: true }])
    const other = started()
    other.put(tombstoneOf('other', 8))
    other.identity.end()
    expect(other.kept()).toEqual(tombstoneOf('mine', 9))
  })

  it('where nobody is signed in marks what is stored, or nothing', () => {
    const { identity, kept, put } = setUp()
    put(recordOf('stored', 5))
    expect(identity.end()).toEqual(tokensOf('stored-5'))
    expect(kept()).toEqual(tombstoneOf('stored', 6))
    const empty = setUp()
    expect(empty.identity.end()).toBeUndefined()
    expect([empty.items.size, empty.published, empty.turns]).toEqual([0, [], []])
    // All was seen: what is stored from now on is new.
    expect(empty.manager.meet(recordOf('new', 1))).toBe('adopted')
  })

  it('of what is damaged leaves it, and is told to the others', () => {
    const { identity, put, items, published } = started()
    put('torn')
    expect(identity.end()).toEqual(tokensOf('mine-5'))
    expect(items.get('key')).toBe('torn')
    expect(published).toEqual([tombstoneOf('mine', 6)])
  })

  it('that can not be marked removes the item, and is told', () => {
    const { identity, items, told, published, turns } = started({ storage: { setItem: broken('full') } })
    expect(identity.end()).toEqual(tokensOf('mine-5'))
    expect(items.size).toBe(0)
    expect(told.at(-1)).toBe('failed full')
    expect([published.length, turns]).toEqual([1, []])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('whose item can be neither marked nor removed is known to this context', () => {
    const { identity, manager } = setUp({
      stored: recordOf('mine', 5),
      storage: { getItem: broken(), setItem: broken(), removeItem: broken() },
    })
    void identity.start()
    identity.end()
    expect(manager.meet(recordOf('mine', 5))).toBe('undead')
    const gone = setUp({ storage: { getItem: broken(), setItem: broken() } })
    void gone.identity.start()
    gone.identity.end()
    expect(gone.manager.meet(recordOf('earlier', 5, { begunAtMs: nowMs - 1 }))).toBe('undead')
    expect(gone.manager.meet(recordOf('later', 5, { begunAtMs: nowMs }))).toBe('adopted')
  })

  it('that another sign-in overtakes marks nothing', async () => {
    const read = deferred<string>()
    const { identity, manager, items } = setUp({ storage: { getItem: () => read.promise } })
    const end = identity.end()
    manager.begin({ record: recordOf('next', 50), life: manager.lifetimeOf(recordOf('next', 50)) })
    read.resolve(JSON.stringify(recordOf('mine', 5)))
    expect(await end).toBeUndefined()
    expect([items.size, manager.status]).toEqual([0, 'signed-in'])
    const slow = deferred<string>()
    const reads: unknown[] = [JSON.stringify(recordOf('mine', 5))]
    const known = setUp({ storage: { getItem: () => (reads.length ? reads.shift() : slow.promise) as never } })
    void known.identity.start()
    const ending = known.identity.end()
    known.manager.begin({ record: recordOf('next', 50), life: known.manager.lifetimeOf(recordOf('next', 50)) })
    slow.resolve(JSON.stringify(recordOf('mine', 5)))
    expect(await ending).toEqual(tokensOf('mine-5'))
    expect([known.published, known.items.size]).toEqual([[], 0])
  })
})

describe('writing again what this context stands for', () => {
  it('is nothing before the first read, nor where all is well', () => {
    const { identity, items } = setUp()
    identity.reassert()
    expect(items.size).toBe(0)
    const getItem = vi.fn(() => JSON.stringify(recordOf('mine', 5)))
    const setItem = vi.fn()
    const fine = started({ storage: { getItem, setItem } })
    fine.identity.reassert()
    expect([setItem.mock.calls, fine.published]).toEqual([[], []])
  })

  it('is the newest tokens where they are not saved, or lie under older ones', () => {
    const { identity, items, manager, kept, published } = started()
    items.clear()
    identity.reassert()
    expect(items.size).toBe(0) // somebody removed what was saved
    const { held } = manager
    if (held) manager.note({ ...held, unsaved: true })
    identity.reassert()
    expect([kept(), published]).toEqual([recordOf('mine', 5), [recordOf('mine', 5)]])
    expect(manager.held).not.toHaveProperty('unsaved')
    const other = started()
    other.put(recordOf('mine', 4))
    other.identity.reassert()
    expect(other.kept()).toEqual(recordOf('mine', 5))
  })

  it('goes above what has ended', () => {
    const { identity, put, kept, manager } = started()
    manager.supersede(recordOf('past', 6), true)
    put(recordOf('past', 30))
    identity.reassert()
    expect(kept()).toEqual({ ...recordOf('mine', 5), generation: 31 })
    expect(manager.held?.record.generation).toBe(31)
  })

  it('marks again what was signed out, and has revoked what was renewed meanwhile', () => {
    const { identity, put, kept, revokeLate, published, manager } = started({ hasLock: false })
    identity.end()
    published.length = 0
    put(recordOf('mine', 30))
    identity.reassert()
    expect([kept(), published]).toEqual([tombstoneOf('mine', 31), [tombstoneOf('mine', 31)]])
    expect(revokeLate.mock.calls).toEqual([['mine', tokensOf('mine-30')]])
    expect(manager.seen).toBe(31)
  })

  it('is nothing where the sign-out stands, or nothing is stored', () => {
    const { identity, items, kept, published } = started()
    identity.end()
    published.length = 0
    identity.reassert()
    expect([kept(), published]).toEqual([tombstoneOf('mine', 6), []])
    items.clear()
    identity.reassert()
    expect([items.size, published]).toEqual([0, []])
  })

  it('leaves what was replaced to whoever else has it, where nobody is signed in', () => {
    const { identity, put, kept, manager } = started()
    manager.supersede(recordOf('past', 6))
    manager.end('expired')
    put(recordOf('past', 30))
    identity.reassert()
    expect(kept()).toEqual(recordOf('past', 30))
  })

  it('leaves what is damaged alone, and adopts what is newer', () => {
    const { identity, put, items } = started()
    put('torn')
    identity.reassert()
    expect(items.get('key')).toBe('torn')
    const other = started()
    other.put(recordOf('other', 9))
    other.identity.reassert()
    expect([other.manager.held?.record.id, other.kept()]).toEqual(['other', recordOf('other', 9)])
  })

  it('that fails is tried again while somebody is signed in, or signed out on purpose', () => {
    const { identity, manager, items } = started({ storage: { setItem: broken('full') } })
    items.clear()
    const { held } = manager
    if (held) manager.note({ ...held, unsaved: true })
    identity.reassert()
    expect(vi.getTimerCount()).toBe(1)
    const unread = (end: 'requested' | 'expired') => {
      vi.clearAllTimers()
      let isDown = false
      const made = started({
        storage: {
          getItem() {
            if (isDown) throw new Error('locked')
            return JSON.stringify(recordOf('mine', 5))
          },
        },
      })
      made.manager.end(end)
      isDown = true
      made.identity.reassert()
      return vi.getTimerCount()
    }
    expect([unread('requested'), unread('expired')]).toEqual([1, 0])
  })
})
