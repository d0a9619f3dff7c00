import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createContexts } from '../../src/engine/contexts.ts'
import type { Held, TokenManager } from '../../src/engine/token-manager.ts'
import type { TokenStorage } from '../../src/index.ts'
import type { LiveRecord } from '../../src/values/record.ts'
import { secret } from '../support/no-leaks.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const recordOf = (generation: number, id = 'mine', access = 'a'): LiveRecord => ({
  v: 1,
  id,
  generation,
  grant: 'custom',
  tokens: { accessToken: secret(access), tokenType: 'Bearer' },
  savedAtMs: 0,
})

function setUp(generation: number | undefined, scope: TokenStorage['scope'] = 'shared', isAlone = false) {
  const posted: object[] = []
  const listeners = new Set<(event: { data: unknown }) => void>()
  const ofMessages = (type: string) => (type === 'message' ? listeners : new Set<unknown>())
  const channel = {
    isClosed: false,
    postMessage: (message: object) => void posted.push(message),
    addEventListener: (type: string, listener: (event: { data: unknown }) => void) =>
      void ofMessages(type).add(listener),
    removeEventListener: (type: string, listener: (event: { data: unknown }) => void) =>
      void ofMessages(type).delete(listener),
    close() {
      channel.isClosed = true
    },
  }
  const manager = {
    held: generation === undefined ? undefined : ({ record: recordOf(generation) } as Held),
    seen: 99,
    isSignedOut: (id: string) => id === 'ended',
    meet: vi.fn(),
  }
  const identity = { read: vi.fn(), receive: vi.fn() }
  const degrade = vi.fn()
  const contexts = createContexts({
    self: 'me',
    channel: isAlone ? undefined : channel,
    scope: scope ?? 'shared',
    manager: manager as unknown as TokenManager,
    identity,
    degrade,
  })
  const receive = (message: unknown) => {
    for (const listener of listeners) listener({ data: message })
  }
  const hold = (record: LiveRecord, unsaved?: boolean) => {
    manager.held = { record, ...(unsaved && { unsaved }) } as Held
  }
  return { contexts, channel, listeners, posted, manager, receive, hold, identity, degrade }
}

describe('what is heard', () => {
  it.each([null, undefined, 7, 'text'])('is ignored where it is %s', message => {
    const { receive, identity, posted } = setUp(5)
    receive(message)
    expect([identity.read.mock.calls, posted]).toEqual([[], []])
  })

  it('is ignored where it is one’s own, or another’s letter', () => {
    const { receive, identity, posted, manager } = setUp(5)
    const changed = { what: 'changed', id: 'mine', generation: 9 }
    receive({ ...changed, from: 'me' })
    receive({ ...changed, from: 'other', to: 'third' })
    receive({ ...changed, from: 'me', what: 'signed-out' })
    expect([identity.read.mock.calls, posted, manager.meet.mock.calls]).toEqual([[], [], []])
    receive({ ...changed, from: 'other', to: 'me' })
    expect(identity.read).toHaveBeenCalledTimes(1)
  })
})

describe('news of a record', () => {
  it.each([
    ['mine', 6, true],
    ['mine', 5, false],
    ['mine', 4, false],
    ['other', 6, true],
    ['other', 5, true], // one was written over the other
    ['other', 4, false],
    ['mine', 6.5, false],
    ['mine', '6', false],
    ['mine', Number.NaN, false],
    ['mine', undefined, false],
  ])('of %s at %s, where 5 is held, is read: %s', (id, generation, isRead) => {
    const { receive, identity } = setUp(5)
    receive({ from: 'other', what: 'changed', id, generation })
    expect(identity.read).toHaveBeenCalledTimes(isRead ? 1 : 0)
  })

  it.each([
    [0, false],
    [1, true],
  ])('of generation %d where nobody is signed in is read: %s', (generation, isRead) => {
    const { receive, identity } = setUp(undefined)
    receive({ from: 'other', what: 'changed', id: 'other', generation })
    expect(identity.read).toHaveBeenCalledTimes(isRead ? 1 : 0)
  })

  it('of another sign-in is none for a tab with a storage of its own', () => {
    const { receive, identity } = setUp(5, 'tab')
    receive({ from: 'other', what: 'changed', id: 'other', generation: 9 })
    expect(identity.read).not.toHaveBeenCalled()
    receive({ from: 'other', what: 'changed', id: 'mine', generation: 9 })
    expect(identity.read).toHaveBeenCalledTimes(1)
  })

  it('that the storage did not have is remembered until it is held', () => {
    const { contexts, receive, hold } = setUp(5)
    expect(contexts.isBehind).toBe(false)
    receive({ from: 'other', what: 'changed', id: 'other', generation: 9 })
    expect(contexts.isBehind).toBe(false)
    receive({ from: 'other', what: 'changed', id: 'mine', generation: 8 })
    receive({ from: 'other', what: 'changed', id: 'mine', generation: 7 })
    expect(contexts.isBehind).toBe(true)
    hold(recordOf(7))
    expect(contexts.isBehind).toBe(true)
    hold(recordOf(8))
    expect(contexts.isBehind).toBe(false)
  })
})

describe('a sign-out that is heard', () => {
  it('ends the sign-in that it names, without a read', () => {
    const { receive, manager } = setUp(5)
    receive({ from: 'other', what: 'signed-out', id: 'mine', generation: 6 })
    expect(manager.meet.mock.calls).toEqual([[{ v: 1, id: 'mine', generation: 6, signedOut: true }]])
  })

  it('of another sign-in is news alone', () => {
    const { receive, manager, identity } = setUp(5)
    receive({ from: 'other', what: 'signed-out', id: 'other', generation: 6 })
    receive({ from: 'other', what: 'changed', id: 'mine', generation: 6 })
    expect(manager.meet).not.toHaveBeenCalled()
    expect(identity.read).toHaveBeenCalledTimes(2)
  })
})

describe('who asks', () => {
  it.each(['ask', 'hello'])('(%s) is answered with what is newer, and with nothing else', what => {
    const { receive, posted } = setUp(5)
    for (const generation of [5, 6]) receive({ from: 'other', what, id: 'mine', generation })
    receive({ from: 'other', what, id: 'unknown', generation: 1 })
    expect(posted).toEqual([])
    receive({ from: 'other', what, id: 'mine', generation: 4 })
    expect(posted).toEqual([
      { from: 'me', to: 'other', what: 'answer', id: 'mine', generation: 5, record: recordOf(5) },
    ])
  })

  it.each(['ask', 'hello'])('(%s) about what has ended is told so', what => {
    for (const { receive, posted } of [setUp(5), setUp(undefined)]) {
      receive({ from: 'other', what, id: 'ended', generation: 1 })
      expect(posted).toEqual([{ from: 'me', to: 'other', what: 'signed-out', id: 'ended', generation: 99 }])
    }
  })

  it('is no news', () => {
    const { receive, identity } = setUp(5)
    receive({ from: 'other', what: 'ask', id: 'mine', generation: 9 })
    receive({ from: 'other', what: 'ask', id: 'other', generation: 9 })
    expect(identity.read).not.toHaveBeenCalled()
  })

  it('gets newest tokens that no storage has, which is remembered while they are the newest', () => {
    const { contexts, receive, hold, manager } = setUp(5)
    receive({ from: 'other', what: 'ask', id: 'mine', generation: 1 })
    expect(contexts.hasHandedOver).toBe(false)
    hold(recordOf(5), true)
    receive({ from: 'other', what: 'ask', id: 'mine', generation: 1 })
    expect(contexts.hasHandedOver).toBe(true)
    hold(recordOf(6, 'mine', 'b'), true)
    expect(contexts.hasHandedOver).toBe(false)
    manager.held = undefined
    expect(contexts.hasHandedOver).toBe(false)
  })

  it('nothing is handed over where nobody is signed in', () => {
    expect(setUp(undefined).contexts.hasHandedOver).toBe(false)
  })
})

describe('clones of a tab', () => {
  const hello = { from: 'clone', what: 'hello', id: 'mine', generation: 5 }

  it('say hello to each other once, and are told from then on', () => {
    const { contexts, receive, posted } = setUp(5, 'tab')
    receive(hello)
    receive(hello)
    expect(posted).toEqual([{ from: 'me', to: 'clone', what: 'hello', id: 'mine', generation: 5 }])
    posted.length = 0
    contexts.tell('changed', recordOf(5))
    expect(posted).toEqual([
      { from: 'me', what: 'changed', id: 'mine', generation: 5 },
      { from: 'me', to: 'clone', what: 'answer', id: 'mine', generation: 5, record: recordOf(5) },
    ])
    posted.length = 0
    contexts.tell('signed-out', { v: 1, id: 'mine', generation: 6, signedOut: true })
    expect(posted).toEqual([{ from: 'me', what: 'signed-out', id: 'mine', generation: 6 }])
  })

  it('that ask are known as well, without a hello', () => {
    const { contexts, receive, posted } = setUp(5, 'tab')
    receive({ ...hello, what: 'ask' })
    expect(posted).toEqual([])
    contexts.tell('changed', recordOf(5))
    expect(posted).toHaveLength(2)
  })

  it('are given nothing where nobody is signed in any more', () => {
    const { contexts, receive, posted, manager } = setUp(5, 'tab')
    receive(hello)
    manager.held = undefined
    posted.length = 0
    contexts.tell('changed', recordOf(6))
    expect(posted).toHaveLength(1)
  })

  it('do not exist where the storage is shared', () => {
    const { contexts, receive, posted } = setUp(5)
    receive(hello)
    contexts.tell('changed', recordOf(5))
    expect(posted).toEqual([{ from: 'me', what: 'changed', id: 'mine', generation: 5 }])
  })

  it('a tab says hello itself, where somebody is signed in', () => {
    const { contexts, posted } = setUp(5, 'tab')
    contexts.hello()
    expect(posted).toEqual([{ from: 'me', what: 'hello', id: 'mine', generation: 5 }])
    for (const other of [setUp(5), setUp(undefined, 'tab')]) {
      other.contexts.hello()
      expect(other.posted).toEqual([])
    }
  })
})

describe('an answer', () => {
  const answer = (record: unknown, id = 'mine') => ({
    from: 'other',
    to: 'me',
    what: 'answer',
    id,
    generation: 6,
    record,
  })

  it('is taken for the sign-in that is held, where it is a record of it with tokens', () => {
    const { receive, identity } = setUp(5)
    const others = [
      answer(recordOf(6, 'other'), 'other'),
      answer(recordOf(6, 'other')),
      answer({ v: 1, id: 'mine', generation: 6, signedOut: true }),
      answer({ ...recordOf(6), tokens: {} }),
      answer(undefined),
      answer('text'),
    ]
    for (const message of others) receive(message)
    expect(identity.receive).not.toHaveBeenCalled()
    receive(answer(recordOf(6)))
    expect(identity.receive.mock.calls).toEqual([[recordOf(6)]])
    expect(identity.read).not.toHaveBeenCalled()
  })

  it('that nobody waits for is taken all the same', () => {
    const { receive, identity } = setUp(5)
    receive(answer(recordOf(6)))
    expect(identity.receive).toHaveBeenCalledTimes(1)
  })
})

describe('asking', () => {
  async function isOver(promise: Promise<void>): Promise<boolean> {
    let over = false
    void promise.then(() => {
      over = true
    })
    await vi.advanceTimersByTimeAsync(0)
    return over
  }

  it('waits a tenth of a second', async () => {
    const { contexts, posted } = setUp(5)
    const asking = contexts.ask()
    expect(posted).toEqual([{ from: 'me', what: 'ask', id: 'mine', generation: 5 }])
    await vi.advanceTimersByTimeAsync(99)
    expect(await isOver(asking)).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    expect(await isOver(asking)).toBe(true)
  })

  it('ends with an answer, which leaves no timer', async () => {
    const { contexts, receive } = setUp(5)
    const asking = contexts.ask()
    receive({ from: 'other', what: 'answer', id: 'mine', record: recordOf(5) })
    expect(await isOver(asking)).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('goes on where the answer is not the newest that was announced', async () => {
    const { contexts, receive, hold } = setUp(5)
    receive({ from: 'other', what: 'changed', id: 'mine', generation: 8 })
    const asking = contexts.ask()
    hold(recordOf(7))
    receive({ from: 'other', what: 'answer', id: 'mine', record: recordOf(7) })
    expect(await isOver(asking)).toBe(false)
    hold(recordOf(8))
    receive({ from: 'third', what: 'answer', id: 'mine', record: recordOf(8) })
    expect(await isOver(asking)).toBe(true)
  })

  it('is over at once where nobody can answer', async () => {
    for (const { contexts, posted } of [setUp(5, 'shared', true), setUp(undefined)]) {
      expect(await isOver(contexts.ask())).toBe(true)
      expect([posted, vi.getTimerCount()]).toEqual([[], 0])
    }
  })
})

describe('a channel', () => {
  it('that is none is no harm', () => {
    const { contexts, degrade } = setUp(5, 'tab', true)
    contexts.hello()
    contexts.tell('changed', recordOf(5))
    contexts.close()
    expect(degrade).not.toHaveBeenCalled()
  })

  it('is closed, and heard no more', () => {
    const { contexts, channel, listeners } = setUp(5)
    expect(listeners.size).toBe(1)
    contexts.close()
    expect([listeners.size, channel.isClosed]).toEqual([0, true])
  })

  it('that breaks is told', () => {
    const { contexts, channel, identity, degrade, manager } = setUp(5)
    channel.postMessage = () => {
      throw new Error('closed')
    }
    contexts.tell('changed', recordOf(5))
    expect(degrade.mock.calls).toEqual([['channel']])
    const deaf = vi.fn()
    createContexts({
      self: 'me',
      scope: 'shared',
      manager: manager as unknown as TokenManager,
      identity,
      degrade: deaf,
      channel: {
        ...channel,
        addEventListener() {
          throw new Error('detached')
        },
      },
    })
    expect(deaf.mock.calls).toEqual([['channel']])
  })
})
