import type { TokenStorage } from '../ports/token-storage.ts'

/** Keeps the record in this context alone: a reload or restart signs out. The default. */
export function memoryStorage(): TokenStorage {
  const items = new Map<string, string>()
  return {
    scope: 'context',
    getItem: key => items.get(key),
    setItem: (key, value) => void items.set(key, value),
    removeItem: key => void items.delete(key),
    replaceItem(key, expected, value) {
      const same = items.get(key) === expected
      if (same) items.set(key, value)
      return same
    },
  }
}
