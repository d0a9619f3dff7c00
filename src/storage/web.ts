import type { StorageScope, TokenStorage } from '../ports/token-storage.ts'
import { memoryStorage } from './memory.ts'

const anchors = new WeakMap<TokenStorage, () => object>()

/** What a storage stands for: two wrappers of one Web Storage are one place. */
export const anchorOf = (storage: TokenStorage): object => anchors.get(storage)?.() ?? storage

export const setAnchor = (storage: TokenStorage, anchor: () => object): void => void anchors.set(storage, anchor)

/** Whether a value is a platform's `Storage`. Its own properties are never read: `localStorage.lock` may be a string somebody stored. */
export const isWebStorage = (value: unknown): value is Storage =>
  Object.prototype.toString.call(value) === '[object Storage]'

/**
 * Web Storage: `'session'` lives as long as the tab and is copied to its clones, `'local'` is shared by all tabs of the origin.
 * Every script on the page can read both, and Safari deletes them after seven days without a visit.
 * Where it is missing, blocked, or there is no document (a server has one for all its users), the record stays in memory
 * and the session says `degraded`.
 */
export function webStorage(kind: 'session' | 'local' | Storage): TokenStorage {
  let resolved: { items: TokenStorage | Storage; scope: StorageScope } | undefined

  // Touched at the first use: even the getter of the property may throw (blocked cookies, sandboxed frames).
  function resolve() {
    if (resolved) return resolved
    try {
      const items =
        typeof kind === 'string' ? (kind === 'local' ? globalThis.localStorage : globalThis.sessionStorage) : kind
      if (typeof document === 'object' && items) {
        items.getItem('latchkey')
        resolved = { items, scope: kind === 'local' || items === safeLocal() ? 'shared' : 'tab' }
      }
    } catch {
      // Nothing to use: the fallback below.
    }
    resolved ??= { items: memoryStorage(), scope: 'context' }
    return resolved
  }

  const storage: TokenStorage = {
    get scope() {
      return resolve().scope
    },
    getItem: key => resolve().items.getItem(key),
    setItem: (key, value) => resolve().items.setItem(key, value),
    removeItem: key => resolve().items.removeItem(key),
    watch(key, listener) {
      const { items } = resolve()
      // `key` is null when the whole storage was cleared.
      const onStorage = (event: StorageEvent) => {
        if (event.storageArea === items && (event.key === key || event.key === null)) listener()
      }
      globalThis.addEventListener?.('storage', onStorage)
      return () => globalThis.removeEventListener?.('storage', onStorage)
    },
    onDegraded(listener) {
      if (resolve().scope === 'context') listener({ what: 'storage' })
      return () => undefined
    },
  }
  setAnchor(storage, () => resolve().items)
  return storage
}

function safeLocal(): Storage | undefined {
  try {
    return globalThis.localStorage
  } catch {
    return undefined
  }
}
