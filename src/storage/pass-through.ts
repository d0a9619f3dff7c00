import type { TokenStorage } from '../ports/token-storage.ts'
import { anchorOf, setAnchor } from './web.ts'

/** A storage that does all that `inner` does, for a decorator to change a part of it. It counts as the same place. */
export function passThrough(inner: TokenStorage, changes: Partial<TokenStorage>): TokenStorage {
  const outer: TokenStorage = {
    getItem: key => inner.getItem(key),
    setItem: (key, value) => inner.setItem(key, value),
    removeItem: key => inner.removeItem(key),
    get scope() {
      return inner.scope
    },
    get lock() {
      return inner.lock
    },
    get readOnly() {
      return inner.readOnly
    },
    get interactive() {
      return inner.interactive
    },
    ...(typeof inner.replaceItem === 'function' && { replaceItem: inner.replaceItem.bind(inner) }),
    ...(typeof inner.watch === 'function' && { watch: inner.watch.bind(inner) }),
    ...(typeof inner.onDegraded === 'function' && { onDegraded: inner.onDegraded.bind(inner) }),
  }
  setAnchor(outer, () => anchorOf(inner))
  return Object.assign(outer, changes)
}
