import { type Device, isReadable, nativeError } from './device.ts'

interface Options {
  service?: string
  accessible?: string
  accessControl?: string
  securityLevel?: number
}

const constants = {
  ACCESSIBLE: {
    AFTER_FIRST_UNLOCK: 'AccessibleAfterFirstUnlock',
    WHEN_UNLOCKED: 'AccessibleWhenUnlocked',
  },
} as const

/** Codes are OSStatus as strings (RNKeychainManager.m, codeForError). Each call makes the module of a new process. */
export function keychainIos(device: Device) {
  const nameOf = ({ service = 'app.bundle.id' }: Options) => `${service}`
  const locked = () => nativeError('-25308', 'User interaction is not allowed.')

  return {
    ...constants,
    async getGenericPassword(options: Options = {}) {
      await device.step('get', nameOf(options))
      const item = device.keychain.get(nameOf(options))
      if (!item) return false
      if (!isReadable(device, item.accessible)) throw locked()
      if (item.isAuthenticated) {
        device.prompts++
        if (device.cancels) throw nativeError('-128', 'User canceled the operation.')
      }
      return {
        username: 'latchkey',
        password: item.data.toString('utf8'),
        service: nameOf(options),
        storage: 'keychain',
      }
    },
    async setGenericPassword(_username: string, password: string, options: Options = {}) {
      const accessible = options.accessible ?? 'AccessibleAfterFirstUnlock'
      await device.step('set', nameOf(options), password, accessible)
      // setGenericPasswordForOptions: deletePasswordsForOptions, then insertKeychainEntry. A kill in between loses the item.
      device.keychain.delete(nameOf(options))
      await device.step('add', nameOf(options), password, accessible)
      if (!isReadable(device, accessible)) throw locked()
      const isAuthenticated = options.accessControl !== undefined
      device.keychain.set(nameOf(options), { data: Buffer.from(password, 'utf8'), accessible, isAuthenticated })
      return { service: nameOf(options), storage: 'keychain' }
    },
    async resetGenericPassword(options: Options = {}) {
      await device.step('remove', nameOf(options))
      device.keychain.delete(nameOf(options))
      return true
    },
  }
}

/** get and set share one mutex (KeychainModule.kt): a call that hangs blocks all that come after. */
export function keychainAndroid(device: Device) {
  let mutex: Promise<unknown> = Promise.resolve()
  const withLock = <T>(work: () => Promise<T>): Promise<T> => {
    const result = mutex.then(work)
    mutex = result.catch(() => undefined)
    return result
  }
  const nameOf = ({ service = '[NULL_SERVICE_NAME]' }: Options) => service

  function prompt(): void {
    device.prompts++
    // ResultHandlerInteractiveBiometric.kt
    if (device.cancels) throw nativeError('E_CRYPTO_FAILED', 'code: 13, msg: Cancel')
  }

  return {
    ...constants,
    SECURITY_LEVEL: { ANY: 0, SECURE_SOFTWARE: 1, SECURE_HARDWARE: 2 },
    getGenericPassword: (options: Options = {}) =>
      withLock(async () => {
        await device.step('get', nameOf(options))
        const item = device.preferences.get(nameOf(options))
        if (!item) return false as const
        // CipherStorageKeystoreAesCbc.kt
        if (item.isBroken || device.keystore.get(nameOf(options)) !== item.key) {
          throw nativeError('E_CRYPTO_FAILED', `Could not decrypt data with alias: ${nameOf(options)}`)
        }
        if (item.isAuthenticated) prompt()
        return { username: 'latchkey', password: item.text, service: nameOf(options), storage: 'KeystoreAESGCM' }
      }),
    setGenericPassword: (username: string, password: string, options: Options = {}) =>
      withLock(async () => {
        await device.step('set', nameOf(options), password)
        if (!username || !password) {
          throw nativeError('E_EMPTY_PARAMETERS', 'you passed empty or null username/password')
        }
        if (!device.keystore.has(nameOf(options))) device.keystore.set(nameOf(options), Math.random())
        const isAuthenticated = options.accessControl !== undefined
        if (isAuthenticated) prompt()
        const text = Buffer.from(password, 'utf8').toString('utf8')
        device.preferences.set(nameOf(options), { text, key: device.keystore.get(nameOf(options))!, isAuthenticated })
        return { service: nameOf(options), storage: 'KeystoreAESGCM' }
      }),
    // The key first, then the entry; no mutex.
    async resetGenericPassword(options: Options = {}) {
      await device.step('remove', nameOf(options))
      device.keystore.delete(nameOf(options))
      device.preferences.delete(nameOf(options))
      return true
    },
  }
}
