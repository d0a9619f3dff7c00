import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createTurns } from '../../src/engine/turn.ts'
import type { Lock } from '../../src/index.ts'
import { deferred, settle } from './contexts-fakes.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

type Request = {
  name: string
  options: { signal?: AbortSignal; steal?: boolean }
  callback: (grip?: unknown) => Promise<void>
}

/** A lock whose answers the test gives by hand. */
function createLock(answer?: (request: Request) => unknown) {
  const requests: (Request & { ends: ReturnType<typeof deferred<void>> })[] = []
  const lock = {
    request(name: string, options: Request['options'], callback: Request['callback']) {
      const ends = deferred()
      const request = { name, options, callback, ends }
      requests.push(request)
      return answer ? answer(request) : ends.promise
    },
  } as Lock
  return { lock, requests }
}

/** A lock that is always free. */
const free = () => createLock(({ callback }) => callback())

function setUp(answer?: (request: Request) => unknown) {
  const { lock, requests } = createLock(answer)
  const fallback = free()
  const onHopeless = vi.fn()
  const take = createTurns(lock, fallback.lock, onHopeless)
  const leave = new AbortController()
  const ran: unknown[] = []
  let turn: string | undefined
  const ask = (more: { steal?: boolean; body?: (grip: unknown) => Promise<void> } = {}) => {
    const { body = async () => undefined, ...options } = more
    void take('name', { timeoutMs: 1000, leave: leave.signal, ...options }, async grip => {
      ran.push(grip)
      await body(grip)
    }).then(how => {
      turn = how
    })
  }
  return { ask, requests, fallback, onHopeless, leave, ran, turn: () => turn }
}

describe('a turn', () => {
  it('is done once its body has ended and the lock is free', async () => {
    const { ask, requests, ran, turn } = setUp()
    ask()
    expect(requests[0]).toMatchObject({ name: 'name', options: { signal: expect.any(AbortSignal) } })
    const grip = { lost: new AbortController().signal }
    await requests[0]?.callback(grip)
    await settle()
    expect([ran, turn()]).toEqual([[grip], undefined]) // the lock is still held
    requests[0]?.ends.resolve()
    await settle()
    expect(turn()).toBe('done')
    expect(vi.getTimerCount()).toBe(0)
  })

  it('listens to who leaves no longer than it waits, however it ends', async () => {
    for (const end of ['run', 'timeout']) {
      const { ask, requests, leave } = setUp()
      const [add, remove] = [vi.spyOn(leave.signal, 'addEventListener'), vi.spyOn(leave.signal, 'removeEventListener')]
      ask()
      if (end === 'run') void requests[0]?.callback()
      else await vi.advanceTimersByTimeAsync(1000)
      expect(remove.mock.calls[0]).toEqual(add.mock.calls[0]?.slice(0, 2))
    }
  })

  it.each([undefined, null, 'a grip that is none', 7])('has no grip where the lock gives %s', async grip => {
    const { ask, requests, ran } = setUp()
    ask()
    await requests[0]?.callback(grip)
    expect(ran).toEqual([undefined])
  })

  it('is done a second after its body, where the lock forgets to be free', async () => {
    const { ask, requests, turn } = setUp()
    ask()
    await requests[0]?.callback()
    await vi.advanceTimersByTimeAsync(999)
    expect(turn()).toBeUndefined()
    await vi.advanceTimersByTimeAsync(1)
    expect(turn()).toBe('done')
  })

  it('whose lock is stolen runs to its end, and is done then', async () => {
    const body = deferred()
    const { ask, requests, turn } = setUp()
    ask({ body: () => body.promise })
    const running = requests[0]?.callback()
    requests[0]?.ends.reject(new Error('stolen'))
    await settle()
    expect(turn()).toBeUndefined()
    body.resolve()
    await running
    await settle()
    expect(turn()).toBe('done')
  })

  it('that lasts longer than the wait for it is not ended by that wait, nor by who leaves', async () => {
    const body = deferred()
    const { ask, requests, leave, turn } = setUp()
    ask({ body: () => body.promise })
    const running = requests[0]?.callback()
    await vi.advanceTimersByTimeAsync(60_000)
    leave.abort()
    await settle()
    expect([turn(), requests[0]?.options.signal?.aborted]).toEqual([undefined, false])
    body.resolve()
    await running
    requests[0]?.ends.resolve()
    await settle()
    expect(turn()).toBe('done')
  })
})

describe('the wait for a turn', () => {
  it('ends in time, leaves the queue, and takes nothing that comes later', async () => {
    const { ask, requests, ran, turn } = setUp()
    ask()
    await vi.advanceTimersByTimeAsync(999)
    expect(turn()).toBeUndefined()
    await vi.advanceTimersByTimeAsync(1)
    expect(turn()).toBe('timeout')
    expect(requests[0]?.options.signal?.aborted).toBe(true)
    await requests[0]?.callback({})
    expect(ran).toEqual([])
    requests[0]?.ends.reject(new Error('aborted'))
    await settle()
    expect(turn()).toBe('timeout')
  })

  it('ends with who leaves, before or while it waits', async () => {
    const { ask, requests, leave, turn, ran } = setUp()
    ask()
    leave.abort()
    await settle()
    expect([turn(), requests[0]?.options.signal?.aborted, vi.getTimerCount()]).toEqual(['left', true, 0])
    ask()
    await settle()
    expect([turn(), requests.length, ran]).toEqual(['left', 1, []])
    expect(vi.getTimerCount()).toBe(0)
  })

  it.each([
    ['rejects', () => Promise.reject(Object.assign(new Error('no'), { name: 'AbortError' }))],
    ['rejects with nothing', () => Promise.reject()],
    ['rejects with null', () => Promise.reject(null)],
    [
      'throws',
      () => {
        throw new Error('no')
      },
    ],
    [
      'throws nothing',
      () => {
        throw undefined
      },
    ],
  ])('is over at once where the lock %s', async (_what, answer) => {
    const { ask, turn, onHopeless, ran } = setUp(answer)
    ask()
    await settle()
    expect([turn(), ran]).toEqual(['timeout', []])
    expect(onHopeless).not.toHaveBeenCalled()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('to steal has no signal, which the Web Locks API refuses beside it', () => {
    const { ask, requests } = setUp()
    ask({ steal: true })
    expect(requests[0]?.options).toEqual({ steal: true })
  })
})

describe('a lock that can never work here', () => {
  const named = (name: string) => Object.assign(new Error('no'), { name })

  it.each([
    ['SecurityError', () => Promise.reject(named('SecurityError'))],
    ['NotSupportedError', () => Promise.reject(named('NotSupportedError'))],
    ['InvalidStateError', () => Promise.reject(named('InvalidStateError'))],
    [
      'TypeError',
      () => {
        throw new TypeError('no function')
      },
    ],
    ['an answer without a call', () => Promise.resolve()],
    ['an answer that is none', () => undefined],
  ])('(%s) counts as none: the fallback takes over for good, and is told once', async (_what, answer) => {
    const { ask, requests, fallback, onHopeless, ran, turn } = setUp(answer)
    ask()
    await settle()
    expect([turn(), ran.length, fallback.requests.length]).toEqual(['done', 1, 1])
    ask()
    await settle()
    expect([requests.length, ran.length, fallback.requests.length]).toEqual([1, 2, 2])
    expect(onHopeless).toHaveBeenCalledTimes(1)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('found out by two at once is told once, and both run under the fallback', async () => {
    const { ask, requests, fallback, onHopeless, ran } = setUp(() => Promise.reject(named('SecurityError')))
    ask()
    ask()
    await settle()
    expect([requests.length, fallback.requests.length, ran.length]).toEqual([2, 2, 2])
    expect(onHopeless).toHaveBeenCalledTimes(1)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('and whose fallback can not either is a timeout', async () => {
    const { lock } = createLock(() => Promise.reject(named('SecurityError')))
    const take = createTurns(lock, lock, () => expect.fail('it is the fallback itself'))
    const leave = new AbortController().signal
    expect(await take('name', { timeoutMs: 1000, leave }, async () => undefined)).toBe('timeout')
  })
})
