// What the entry takes, against the types of the real packages. Compiled only, never run.
import AsyncStorage from '@react-native-async-storage/async-storage'
import NetInfo from '@react-native-community/netinfo'
import * as SecureStore from 'expo-secure-store'
import { createSession, type TokenStorage } from 'latchkey'
import { appState, expoSecureStore, fromMMKV, netInfo, reactNativeKeychain } from 'latchkey/react-native'
import { AppState } from 'react-native'
import * as Keychain from 'react-native-keychain'
import { createMMKV } from 'react-native-mmkv'

const grant = async () => ({ access_token: '' })
const resources = 'https://api.example.com'

export const storages: TokenStorage[] = [
  expoSecureStore(SecureStore),
  expoSecureStore(SecureStore, {
    keychainAccessible: SecureStore.AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY,
    keychainService: 'work',
    requireAuthentication: true,
    onReinstall: 'wipe',
    marker: AsyncStorage,
  }),
  reactNativeKeychain(Keychain),
  reactNativeKeychain(Keychain, {
    accessible: Keychain.ACCESSIBLE.AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY,
    securityLevel: Keychain.SECURITY_LEVEL.SECURE_HARDWARE,
    accessControl: Keychain.ACCESS_CONTROL.BIOMETRY_ANY_OR_DEVICE_PASSCODE,
    onReinstall: 'wipe',
    marker: AsyncStorage,
  }),
  fromMMKV(createMMKV()),
]

createSession({ resources, grant, storage: AsyncStorage, wake: [appState(AppState), netInfo(NetInfo)] })

// @ts-expect-error: a security level is a number of the module's enum
reactNativeKeychain(Keychain, { securityLevel: 'SECURE_HARDWARE' })
// @ts-expect-error: no such class
reactNativeKeychain(Keychain, { accessible: 'Sometimes' })
// @ts-expect-error: no such answer
expoSecureStore(SecureStore, { onReinstall: 'ask' })
