import type { TokenStorage } from '../ports/token-storage.ts'

/** What is needed of unstorage's `Storage`, version 1. */
interface UnstorageLike {
  getItem(key: string): Promise<unknown>
  setItem(key: string, value: string): Promise<void>
  removeItem(key: string): Promise<void>
  watch?(callback: (event: string, key: string) => void): Promise<() => unknown>
}

/**
 * Adapts an unstorage `Storage`: its values come back parsed, its keys normalised, and its `watch` tells of all keys.
 * It protects nothing by itself, brings no lock and can't compare and set: several processes need `redisStorage` or `fileStorage`.
 * A driver that can't watch gives no news; each renewal reads.
 */
export function fromUnstorage(storage: UnstorageLike): TokenStorage {
  return {
    async getItem(key) {
      const value = await storage.getItem(key)
      if (value === null || value === undefined) return undefined
      return typeof value === 'string' ? value : JSON.stringify(value)
    },
    setItem: (key, value) => storage.setItem(key, value),
    removeItem: key => storage.removeItem(key),
    watch(key, listener) {
      const normal = normalise(key)
      const stopping = storage.watch?.((_event, changed) => {
        if (normalise(changed) === normal) listener()
      })
      stopping?.catch(() => undefined)
      return () => void stopping?.then(stop => stop()).catch(() => undefined)
    },
  }
}

const normalise = (key: string) => key.replace(/[/\\]/g, ':').replace(/:+/g, ':').replace(/^:|:$/g, '')
