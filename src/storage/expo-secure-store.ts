import type { TokenStorage } from '../ports/token-storage.ts'
import { installMarker, type ReinstallOptions } from './install-marker.ts'
import { placeOf } from './native-calls.ts'
import { slotStorage } from './slots.ts'

interface NativeOptions {
  keychainService?: string
  keychainAccessible?: number
  requireAuthentication?: boolean
}

/** What is needed of the module expo-secure-store: `import * as SecureStore from 'expo-secure-store'`. */
export interface SecureStoreLike {
  getItemAsync(key: string, options?: NativeOptions): Promise<string | null>
  setItemAsync(key: string, value: string, options?: NativeOptions): Promise<void>
  deleteItemAsync(key: string, options?: NativeOptions): Promise<void>
  /** Missing on Android. */
  readonly AFTER_FIRST_UNLOCK?: number
}

export interface ExpoSecureStoreOptions extends ReinstallOptions {
  /** iOS: when items can be read. @default SecureStore.AFTER_FIRST_UNLOCK: also in the background, once the phone was unlocked after a start */
  keychainAccessible?: number | undefined
  /** @default 'latchkey' */
  keychainService?: string | undefined
  /** Asks for biometrics at the first read in a process; Android asks at every write as well. @default false */
  requireAuthentication?: boolean | undefined
}

// Some Android devices fail above 4,072 characters (expo issue 2556); up to SDK 54 the module warns above 2,048 bytes.
const partBytes = 2_048

/**
 * The iOS keychain or Android's Keystore by expo-secure-store. Records of any size, whole after a kill at any instant. A locked phone is
 * `storage_unavailable`, and a value that can't be decrypted any more `storage_corrupt` (Android mostly gives null for it: signed out).
 * @throws SessionError `misconfigured` for `onReinstall: 'wipe'` without a marker
 */
export function expoSecureStore(SecureStore: SecureStoreLike, options: ExpoSecureStoreOptions = {}): TokenStorage {
  const keychainService = options.keychainService ?? 'latchkey'
  // 0 is a class: AFTER_FIRST_UNLOCK.
  const keychainAccessible = options.keychainAccessible ?? SecureStore.AFTER_FIRST_UNLOCK
  const interactive = options.requireAuthentication === true
  const place = placeOf(SecureStore, keychainService)
  const base: NativeOptions = { keychainService, ...(keychainAccessible !== undefined && { keychainAccessible }) }
  const optionsOf = (kind: 'head' | 'part'): NativeOptions =>
    interactive && kind === 'part' ? { ...base, requireAuthentication: true } : base

  return slotStorage({
    name: 'expo-secure-store',
    place,
    interactive,
    marker: installMarker(place, options),
    accessClass: `${keychainAccessible ?? ''}${interactive ? ' authenticated' : ''}`,
    // Each part would be a prompt of its own.
    partBytes: interactive ? Number.POSITIVE_INFINITY : partBytes,
    items: {
      get: (item, kind) => SecureStore.getItemAsync(item, optionsOf(kind)),
      set: (item, text, kind) => SecureStore.setItemAsync(item, text, optionsOf(kind)),
      remove: item => SecureStore.deleteItemAsync(item, base),
      isCorrupt,
    },
  })
}

/** Android: DecryptException (SecureStoreExceptions.kt). iOS: errSecDecode in a KeyChainException (SecureStoreExceptions.swift). */
function isCorrupt(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  return code === 'ERR_DECRYPT' || (code === 'ERR_KEY_CHAIN' && /Unable to decode the provided data/.test(`${message}`))
}
