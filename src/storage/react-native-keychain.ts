import type { TokenStorage } from '../ports/token-storage.ts'
import { installMarker, type ReinstallOptions } from './install-marker.ts'
import { placeOf } from './native-calls.ts'
import { slotStorage } from './slots.ts'

/** What is needed of the module react-native-keychain: `import * as Keychain from 'react-native-keychain'`. */
export interface KeychainLike {
  // biome-ignore lint/suspicious/noExplicitAny: its options are enums of the module, which is not imported
  getGenericPassword(options?: any): Promise<false | { password: string }>
  // biome-ignore lint/suspicious/noExplicitAny: as above
  setGenericPassword(username: string, password: string, options?: any): Promise<unknown>
  // biome-ignore lint/suspicious/noExplicitAny: as above
  resetGenericPassword(options?: any): Promise<boolean>
  readonly ACCESSIBLE?: { readonly AFTER_FIRST_UNLOCK?: string }
}

type SetOptionsOf<Keychain extends KeychainLike> = NonNullable<Parameters<Keychain['setGenericPassword']>[2]>

/** Typed by the module that is passed in: its enums are its own. */
export interface ReactNativeKeychainOptions<Keychain extends KeychainLike> extends ReinstallOptions {
  /** iOS: when items can be read. @default Keychain.ACCESSIBLE.AFTER_FIRST_UNLOCK: also in the background, once the phone was unlocked after a start */
  accessible?: SetOptionsOf<Keychain>['accessible'] | undefined
  /** Android: the least that the Keystore must offer. @default what the module picks */
  securityLevel?: SetOptionsOf<Keychain>['securityLevel'] | undefined
  /** Asks for biometrics or the passcode at the first read in a process; Android asks at every write as well. @default never */
  accessControl?: SetOptionsOf<Keychain>['accessControl'] | undefined
}

/**
 * The iOS keychain or Android's Keystore by react-native-keychain, each item under a service of its own (`latchkey.…`). Whole after a kill
 * at any instant, although the module deletes before it adds. A locked phone is `storage_unavailable`, and a value that can't be decrypted
 * any more `storage_corrupt`.
 * @throws SessionError `misconfigured` for `onReinstall: 'wipe'` without a marker
 */
export function reactNativeKeychain<Keychain extends KeychainLike>(
  Keychain: Keychain,
  options: ReactNativeKeychainOptions<Keychain> = {},
): TokenStorage {
  const { accessControl, securityLevel } = options
  const accessible = options.accessible ?? Keychain.ACCESSIBLE?.AFTER_FIRST_UNLOCK
  const interactive = accessControl !== undefined
  const place = placeOf(Keychain, '')
  const base = {
    ...(accessible !== undefined && { accessible }),
    ...(securityLevel !== undefined && { securityLevel }),
  }
  const optionsOf = (service: string, kind: 'head' | 'part') => ({
    ...base,
    service,
    ...(interactive && kind === 'part' && { accessControl }),
  })

  return slotStorage({
    name: 'react-native-keychain',
    place,
    interactive,
    marker: installMarker(place, options as ReinstallOptions),
    accessClass: [accessible, securityLevel, accessControl].map(part => part ?? '').join(' '),
    // Each service has a Keystore key of its own on Android, and no size limits a value.
    partBytes: Number.POSITIVE_INFINITY,
    items: {
      async get(service, kind) {
        const found = await Keychain.getGenericPassword(optionsOf(service, kind))
        return found ? found.password : null
      },
      async set(service, text, kind) {
        const done = await Keychain.setGenericPassword('latchkey', text, optionsOf(service, kind))
        if (!done) throw new Error('react-native-keychain did not save.')
      },
      async remove(service) {
        if (!(await Keychain.resetGenericPassword({ service })))
          throw new Error('react-native-keychain did not remove.')
      },
      isCorrupt,
    },
  })
}

/**
 * Android: `E_CRYPTO_FAILED` stands for both (KeychainModule.kt): values that can't be decrypted (CipherStorageBase.kt,
 * CryptoFailedException.kt), and a prompt that was cancelled ("code: 13, msg: Cancel", ResultHandlerInteractiveBiometric.kt).
 * iOS: `'-26275'`, errSecDecode.
 */
function isCorrupt(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  if (code === '-26275') return true
  return (
    code === 'E_CRYPTO_FAILED' &&
    /Decryption failed|Could not decrypt|Wrapped error: Key permanently invalidated/.test(`${message}`)
  )
}
