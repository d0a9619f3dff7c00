import { type Device, isReadable, nativeError } from './device.ts'

interface Options {
  keychainService?: string
  keychainAccessible?: number
  requireAuthentication?: boolean
}

/** SecureStore.js, isValidKey. */
function assertKey(key: string): void {
  if (!/^[\w.-]+$/.test(key)) throw new Error('Invalid key provided to SecureStore.')
}

/** Each call makes the module of a new process. */
export function secureStoreIos(device: Device) {
  // SecureStoreExceptions.swift, KeyChainException
  const keychainError = (method: string, reason: string) =>
    nativeError(
      'ERR_KEY_CHAIN',
      `Calling the '${method}' function has failed\n→ Caused by: ${reason} (at ExpoSecureStore/SecureStoreModule.swift)`,
    )
  const locked = (method: string) => keychainError(method, 'User interaction is not allowed.')
  const canceled = (method: string) => keychainError(method, 'User canceled the operation.')
  // SecureStoreModule.swift, query(with:): the service says whether the item is authenticated.
  const nameOf = (key: string, { keychainService = 'app' }: Options, isAuthenticated: boolean) =>
    `${keychainService}:${isAuthenticated ? 'auth' : 'no-auth'}/${key}`

  function prompt(method: string): void {
    device.prompts++
    if (device.cancels) throw canceled(method)
  }

  return {
    AFTER_FIRST_UNLOCK: 0,
    AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY: 1,
    WHEN_UNLOCKED: 5,
    async getItemAsync(key: string, options: Options = {}): Promise<string | null> {
      assertKey(key)
      await device.step('get', key)
      const method = 'getValueWithKeyAsync'
      // get(with:): unauthenticated first, then authenticated, whatever the options say.
      for (const isAuthenticated of [false, true]) {
        const item = device.keychain.get(nameOf(key, options, isAuthenticated))
        if (!item) continue
        if (!isReadable(device, item.accessible)) throw locked(method)
        if (isAuthenticated) prompt(method)
        return item.data.toString('utf8')
      }
      return null
    },
    async setItemAsync(key: string, value: string, options: Options = {}): Promise<void> {
      assertKey(key)
      const { requireAuthentication = false, keychainAccessible = 5 } = options
      await device.step('set', key, value, keychainAccessible)
      const method = 'setValueWithKeyAsync'
      const data = Buffer.from(value, 'utf8')
      const known = device.keychain.get(nameOf(key, options, requireAuthentication))
      if (known) {
        // update(value:): the data only, the accessibility class stays.
        if (!isReadable(device, known.accessible)) throw locked(method)
        if (requireAuthentication) prompt(method)
        known.data = data
        return
      }
      if (!isReadable(device, keychainAccessible)) throw locked(method)
      device.keychain.set(nameOf(key, options, requireAuthentication), {
        data,
        accessible: keychainAccessible,
        isAuthenticated: requireAuthentication,
      })
      device.keychain.delete(nameOf(key, options, !requireAuthentication))
    },
    async deleteItemAsync(key: string, options: Options = {}): Promise<void> {
      assertKey(key)
      await device.step('remove', key)
      for (const isAuthenticated of [false, true]) device.keychain.delete(nameOf(key, options, isAuthenticated))
    },
  }
}

/** The constants of iOS are missing there. */
export function secureStoreAndroid(device: Device) {
  // createKeychainAwareKey and getExtendedKeyStoreAlias (SecureStoreModule.kt)
  const nameOf = (key: string, { keychainService = 'key_v1' }: Options) => `${keychainService}-${key}`
  const aliasOf = ({ keychainService = 'key_v1' }: Options, isAuthenticated: boolean) =>
    `AES/GCM/NoPadding:${keychainService}:${isAuthenticated ? 'keystoreAuthenticated' : 'keystoreUnauthenticated'}`

  function prompt(): void {
    device.prompts++
    if (device.cancels) throw nativeError('ERR_AUTHENTICATION', 'Could not Authenticate the user: User canceled')
  }

  return {
    async getItemAsync(key: string, options: Options = {}): Promise<string | null> {
      assertKey(key)
      await device.step('get', key)
      const item = device.preferences.get(nameOf(key, options))
      if (!item) return null
      const service = options.keychainService ?? 'key_v1'
      // DecryptException (SecureStoreExceptions.kt)
      if (item.isBroken) {
        throw nativeError(
          'ERR_DECRYPT',
          `Could not decrypt the value for key '${key}' under keychain '${service}'. Caused by: Keystore operation failed`,
        )
      }
      const keyNow = device.keystore.get(aliasOf(options, item.isAuthenticated))
      if (keyNow !== item.key) {
        // No key, or BadPaddingException: the entry is removed and null returned.
        device.preferences.delete(nameOf(key, options))
        return null
      }
      if (item.isAuthenticated) prompt()
      return item.text
    },
    async setItemAsync(key: string, value: string, options: Options = {}): Promise<void> {
      assertKey(key)
      await device.step('set', key, value)
      const isAuthenticated = options.requireAuthentication === true
      const alias = aliasOf(options, isAuthenticated)
      if (!device.keystore.has(alias)) device.keystore.set(alias, Math.random())
      if (isAuthenticated) prompt()
      const text = Buffer.from(value, 'utf8').toString('utf8')
      device.preferences.set(nameOf(key, options), { text, key: device.keystore.get(alias)!, isAuthenticated })
    },
    async deleteItemAsync(key: string, options: Options = {}): Promise<void> {
      assertKey(key)
      await device.step('remove', key)
      device.preferences.delete(nameOf(key, options))
    },
  }
}
