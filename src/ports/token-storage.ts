import type { Lock } from './lock.ts'

/** Who else sees what is written: nobody, clones of this tab, or other tabs, processes and hosts. */
export type StorageScope = 'context' | 'tab' | 'shared'

/**
 * Where a session's one record lives: the shape of Web Storage and AsyncStorage, synchronous or not.
 * A value that can never be decrypted or parsed is told by rejecting with `code: 'storage_corrupt'`;
 * every other rejection means "not now", and nothing is wiped because of it.
 */
export interface TokenStorage {
  getItem(key: string): string | null | undefined | Promise<string | null | undefined>
  setItem(key: string, value: string): unknown
  removeItem(key: string): unknown
  /** @default 'shared' */
  readonly scope?: StorageScope | undefined
  /** Compare and set: writes only if the stored string is exactly `expected` (`undefined`: nothing is stored). Resolves with whether it wrote. */
  replaceItem?(key: string, expected: string | undefined, value: string): boolean | Promise<boolean>
  /** Somebody else changed or removed the item. The listener takes nothing and reads for itself. */
  watch?(key: string, listener: () => void): () => void
  /** The lock that protects a storage shared beyond this host. */
  readonly lock?: Lock | undefined
  /** Nothing can be saved (a server component): the refresh token is never spent. */
  readonly readOnly?: boolean | undefined
  /** It fell back to something lesser by itself. */
  onDegraded?(listener: (event: { what: 'lock' | 'storage' | 'channel' }) => void): () => void
  /** Reading or writing may prompt the user (biometrics): it is read once per process and never before a renewal. */
  readonly interactive?: boolean | undefined
}
