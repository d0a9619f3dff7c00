import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { sleep, startTimer, within } from '../../src/values/timers.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  // What was stubbed is the fake one.
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
  vi.useRealTimers()
})

const weeks = 30 * 24 * 3_600_000 // more than a timer can count

describe('startTimer', () => {
  it('calls back once, after its time', () => {
    const callback = vi.fn()
    startTimer(callback, 100)
    vi.advanceTimersByTime(99)
    expect(callback).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1000)
    expect(callback).toHaveBeenCalledTimes(1)
  })

  it('never calls back once it is stopped', () => {
    const callback = vi.fn()
    startTimer(callback, 100)()
    expect(vi.getTimerCount()).toBe(0)
    vi.advanceTimersByTime(1000)
    expect(callback).not.toHaveBeenCalled()
  })

  it.each([
    [-5, 0],
    [0, 0],
    [weeks, 2 ** 31 - 1],
    [Number.POSITIVE_INFINITY, 2 ** 31 - 1],
  ])('of %d ms waits %d, as an overflow would end it at once', (ms, expected) => {
    const timer = vi.spyOn(globalThis, 'setTimeout')
    startTimer(() => undefined, ms)
    expect(timer.mock.calls[0]?.[1]).toBe(expected)
  })

  it('does not hold a process, and does where timers are numbers', () => {
    const unref = vi.fn()
    vi.stubGlobal('setTimeout', () => ({ unref }))
    startTimer(() => undefined, 1)
    expect(unref).toHaveBeenCalledTimes(1)
    vi.stubGlobal('setTimeout', () => 7)
    startTimer(() => undefined, 1)
    vi.stubGlobal('setTimeout', () => undefined) // a frozen page of some test frameworks
    expect(() => startTimer(() => undefined, 1)).toThrow()
  })
})

describe('within', () => {
  const never = new Promise<never>(() => undefined)

  it('is the work where that comes first, and leaves no timer', async () => {
    const late = vi.fn()
    await expect(within(Promise.resolve('done'), 100, late)).resolves.toBe('done')
    await expect(within(Promise.reject(new Error('failed')), 100, late)).rejects.toThrow('failed')
    expect(vi.getTimerCount()).toBe(0)
    expect(late).not.toHaveBeenCalled()
  })

  it('is what late() gives once the time is over, or throws', async () => {
    const given = within(never, 100, () => 'late')
    const thrown = within(never, 100, () => {
      throw new Error('too late')
    })
    const told = expect(thrown).rejects.toThrow('too late')
    await vi.advanceTimersByTimeAsync(100)
    await expect(given).resolves.toBe('late')
    await told
  })

  it('of weeks does not end at once', async () => {
    const late = vi.fn()
    void within(never, weeks, late)
    await vi.advanceTimersByTimeAsync(60_000)
    expect(late).not.toHaveBeenCalled()
  })
})

it('sleep takes its time', async () => {
  const woken = vi.fn()
  void sleep(100).then(woken)
  await vi.advanceTimersByTimeAsync(99)
  expect(woken).not.toHaveBeenCalled()
  await vi.advanceTimersByTimeAsync(1)
  expect(woken).toHaveBeenCalledTimes(1)
})
