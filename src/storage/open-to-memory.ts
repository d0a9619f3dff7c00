import { memoryLock } from '../locks/memory.ts'
import type { Lock } from '../ports/lock.ts'
import type { TokenStorage } from '../ports/token-storage.ts'
import { startTimer } from '../values/timers.ts'

interface Item {
  text: string | undefined
  /** What the storage below held, as far as it was seen. */
  base?: { text: string | undefined }
  isDirty: boolean
}

const probeMs = 500
const mostItems = 10_000

/**
 * Goes on in the memory of this process while the storage below fails, says so, and comes back by itself: what was written meanwhile is written
 * back by compare and set, so that it never lands on what somebody else wrote. Its lock then holds in this process only.
 */
export function openToMemory(inner: TokenStorage, probe: () => Promise<unknown>): TokenStorage {
  const items = new Map<string, Item>()
  const degraded = new Set<(event: { what: 'lock' | 'storage' }) => void>()
  const watchers = new Map<string, Set<() => void>>()
  const local = memoryLock()
  let isDown = false

  function itemOf(key: string): Item {
    const item = items.get(key) ?? { text: undefined, isDirty: false }
    items.delete(key)
    items.set(key, item)
    const [oldest] = items
    if (items.size > mostItems && oldest && !oldest[1].isDirty) items.delete(oldest[0])
    return item
  }

  function see(key: string, text: string | undefined): void {
    Object.assign(itemOf(key), { text, base: { text }, isDirty: false })
  }

  function goDown(): void {
    if (isDown) return
    isDown = true
    for (const listener of [...degraded]) tell(listener)
    startTimer(comeBack, probeMs)
  }

  const tell = (listener: (event: { what: 'lock' | 'storage' }) => void) => {
    listener({ what: 'storage' })
    listener({ what: 'lock' })
  }

  async function comeBack(): Promise<void> {
    const changed = new Set<string>()
    const looked = new Set<string>()
    try {
      await probe()
      for (;;) {
        const [next] = [...items].filter(([key, item]) => item.isDirty || (watchers.has(key) && !looked.has(key)))
        if (!next) break
        looked.add(next[0])
        if (await writeBack(...next)) changed.add(next[0])
      }
    } catch {
      startTimer(comeBack, probeMs)
      return
    }
    // No await since the last look: what is written from here on goes below.
    isDown = false
    for (const key of changed) for (const listener of [...(watchers.get(key) ?? [])]) listener()
  }

  /** Writes where nobody else did, also what a restart lost. Resolves with whether somebody else wrote: that counts, and the sessions read it. */
  async function writeBack(key: string, item: Item): Promise<boolean> {
    const { text, base } = item
    const stored = (await inner.getItem(key)) ?? undefined
    const isOurs = stored === undefined || (base !== undefined && base.text === stored)
    if (isOurs && stored !== text) {
      if (text === undefined) await inner.removeItem(key)
      else if (!(await inner.replaceItem?.(key, stored, text))) return writeBack(key, item)
    }
    // Written once more in between: the next round writes that.
    if (item.text !== text) item.base = { text: isOurs ? text : stored }
    else see(key, isOurs ? text : stored)
    return !isOurs && stored !== text
  }

  /** Below while that works, else in memory. */
  async function attempt<T>(below: () => T | Promise<T>, inMemory: () => T): Promise<T> {
    if (isDown) return inMemory()
    try {
      return await below()
    } catch {
      goDown()
      return inMemory()
    }
  }

  function write(key: string, text: string | undefined): void {
    Object.assign(itemOf(key), { text, isDirty: true })
  }

  const lock: Lock = {
    async request(name, options, callback) {
      let hasBegun = false
      if (!isDown) {
        try {
          return await inner.lock?.request(name, options, grip => {
            hasBegun = true
            return callback(grip)
          })
        } catch (error) {
          if (hasBegun || options.signal?.aborted) throw error
          goDown()
        }
      }
      return local.request(name, options, callback)
    },
  }

  return {
    scope: 'shared',
    getItem: key =>
      attempt(
        async () => {
          const text = (await inner.getItem(key)) ?? undefined
          see(key, text)
          return text
        },
        () => items.get(key)?.text,
      ),
    setItem: (key, value) =>
      attempt(
        async () => {
          await inner.setItem(key, value)
          see(key, value)
        },
        () => write(key, value),
      ),
    removeItem: key =>
      attempt(
        async () => {
          await inner.removeItem(key)
          see(key, undefined)
        },
        () => write(key, undefined),
      ),
    replaceItem: (key, expected, value) =>
      attempt(
        async () => {
          const isDone = (await inner.replaceItem?.(key, expected, value)) === true
          if (isDone) see(key, value)
          return isDone
        },
        () => {
          if (items.get(key)?.text !== expected) return false
          write(key, value)
          return true
        },
      ),
    watch(key, listener) {
      const listeners = watchers.get(key) ?? new Set()
      watchers.set(key, listeners.add(listener))
      const off = inner.watch?.(key, listener)
      return () => {
        listeners.delete(listener)
        if (!listeners.size) watchers.delete(key)
        off?.()
      }
    },
    lock,
    onDegraded(listener) {
      degraded.add(listener)
      if (isDown) tell(listener)
      return () => void degraded.delete(listener)
    },
  }
}
