import type { TokenStorage } from '../../src/index.ts'
import { expoSecureStore, type ReinstallOptions, reactNativeKeychain } from '../../src/react-native.ts'
import type { Device } from './device.ts'
import { keychainAndroid, keychainIos } from './fake-keychain.ts'
import { secureStoreAndroid, secureStoreIos } from './fake-secure-store.ts'

interface Options extends ReinstallOptions {
  prompts?: boolean
}

/** A new process of the app on a device: the adapter over the module's fake, by store and platform. */
export const flavours: [name: string, start: (device: Device, options?: Options) => TokenStorage][] = [
  ['expoSecureStore, iOS', (device, options) => expoSecureStore(secureStoreIos(device), expo(options))],
  ['expoSecureStore, Android', (device, options) => expoSecureStore(secureStoreAndroid(device), expo(options))],
  ['reactNativeKeychain, iOS', (device, options) => reactNativeKeychain(keychainIos(device), keychain(options))],
  [
    'reactNativeKeychain, Android',
    (device, options) => reactNativeKeychain(keychainAndroid(device), keychain(options)),
  ],
]

const expo = ({ prompts, ...rest }: Options = {}) => ({ ...rest, ...(prompts && { requireAuthentication: true }) })

const keychain = ({ prompts, ...rest }: Options = {}) => ({
  ...rest,
  ...(prompts && { accessControl: 'BiometryAny' }),
})
