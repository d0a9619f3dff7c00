import type { TokenStorage } from '../ports/token-storage.ts'
import { placeOf } from './native-calls.ts'
import { setAnchor } from './web.ts'

/** What is needed of an MMKV instance: `remove` from version 4 on, `delete` up to 3. */
export interface MMKVLike {
  getString(key: string): string | undefined
  set(key: string, value: string): void
  remove?(key: string): unknown
  delete?(key: string): unknown
}

/**
 * Adapts an instance of react-native-mmkv: synchronous, so the state of a session is known at the first render. A file of the app, plain
 * unless the instance has an encryption key; it goes when the app is deleted, and backups may take it along.
 */
export function fromMMKV(mmkv: MMKVLike): TokenStorage {
  const storage: TokenStorage = {
    // An app is one process.
    lock: placeOf(mmkv, '').lock,
    getItem: key => mmkv.getString(key),
    setItem: (key, value) => mmkv.set(key, value),
    removeItem: key => void (typeof mmkv.remove === 'function' ? mmkv.remove(key) : mmkv.delete?.(key)),
    // One process, and no code runs in between.
    replaceItem(key, expected, value) {
      const isSame = mmkv.getString(key) === expected
      if (isSame) mmkv.set(key, value)
      return isSame
    },
  }
  setAnchor(storage, () => mmkv)
  return storage
}
