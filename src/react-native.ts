export { expoWebBrowser, type WebBrowserLike } from './grants/expo-web-browser.ts'
export { type AppAuthLike, reactNativeAppAuth } from './grants/react-native-app-auth.ts'
export { type AppStateLike, appState } from './session/app-state.ts'
export { type NetInfoLike, netInfo } from './session/net-info.ts'
export { type ExpoSecureStoreOptions, expoSecureStore, type SecureStoreLike } from './storage/expo-secure-store.ts'
export type { MarkerStorage, ReinstallOptions } from './storage/install-marker.ts'
export { fromMMKV, type MMKVLike } from './storage/mmkv.ts'
export {
  type KeychainLike,
  type ReactNativeKeychainOptions,
  reactNativeKeychain,
} from './storage/react-native-keychain.ts'
