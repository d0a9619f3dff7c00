import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { Access } from '../../src/engine/access.ts'
import { keepFresh } from '../../src/engine/keep-fresh.ts'
import type { TokenManager } from '../../src/engine/token-manager.ts'
import { settle } from './contexts-fakes.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

function setUp({ isHeld = true, remaining = 100_000 } = {}) {
  const subscribers = new Set<() => void>()
  const manager = {
    held: isHeld ? { life: { aheadMs: 10_000 } } : undefined,
    remaining,
    remainingMs: () => manager.remaining,
    subscribe(listener: () => void) {
      subscribers.add(listener)
      return () => subscribers.delete(listener)
    },
  }
  const access = { peek: vi.fn(), get: vi.fn(() => Promise.reject(new Error('nobody asked for it'))) }
  const fresh = keepFresh(manager as unknown as TokenManager, access as unknown as Access)
  return { manager, access, fresh, subscribers }
}

it('looks at once, and again when the token is to be renewed', () => {
  const { access } = setUp()
  expect(access.peek).toHaveBeenCalledTimes(1)
  vi.advanceTimersByTime(89_999)
  expect(access.peek).toHaveBeenCalledTimes(1)
  vi.advanceTimersByTime(1)
  expect(access.peek).toHaveBeenCalledTimes(2)
  expect(access.get).not.toHaveBeenCalled()
})

it('does not look more than once a second', () => {
  const { access } = setUp({ remaining: 5000 })
  vi.advanceTimersByTime(999)
  expect(access.peek).toHaveBeenCalledTimes(1)
  vi.advanceTimersByTime(1)
  expect(access.peek).toHaveBeenCalledTimes(2)
})

it.each([0, -5])('waits for a token where the old one is dead, and its failure is nobody’s: %d', async remaining => {
  const { access } = setUp({ remaining })
  expect(access.get.mock.calls).toEqual([[{}]])
  expect(access.peek).not.toHaveBeenCalled()
  await settle()
})

it('has one timer, however often it looks, and none once it is stopped', () => {
  const { fresh, subscribers, access } = setUp()
  fresh.check()
  for (const listener of subscribers) listener()
  expect(access.peek).toHaveBeenCalledTimes(3)
  expect(vi.getTimerCount()).toBe(1)
  fresh.stop()
  expect([vi.getTimerCount(), subscribers.size]).toEqual([0, 0])
})

it.each([
  ['nobody is signed in', { isHeld: false }, 'visible'],
  ['the page is hidden', {}, 'hidden'],
])('does nothing where %s', (_what, options, visibilityState) => {
  vi.stubGlobal('document', { visibilityState })
  const { access, fresh } = setUp(options)
  expect([access.peek.mock.calls, access.get.mock.calls, vi.getTimerCount()]).toEqual([[], [], 0])
  fresh.stop()
})

it('stops its timer where the page is hidden later', () => {
  const { fresh } = setUp()
  vi.stubGlobal('document', { visibilityState: 'hidden' })
  fresh.check()
  expect(vi.getTimerCount()).toBe(0)
})
