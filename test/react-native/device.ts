/**
 * A phone as far as the stores see it: what survives a restart of the app, and when the process dies. The fakes below keep to the sources of
 * expo-secure-store 57 and react-native-keychain 10; the file that each behaviour was read in stands beside it.
 */
export interface Device {
  readonly keychain: Map<string, KeychainItem>
  readonly preferences: Map<string, Encrypted>
  /** Android's Keystore: alias → the key that is there now. */
  readonly keystore: Map<string, number>
  state: 'unlocked' | 'locked' | 'before-first-unlock'
  /** Dies before this native call, counted from 1 since the last `restart`. */
  killAt: number
  calls: number
  /** Every native call since the last `restart`: method, item and UTF-8 bytes. */
  readonly log: { method: string; item: string; bytes: number; accessible?: unknown }[]
  /** How many prompts the user saw, and what they do. */
  prompts: number
  cancels: boolean
  /** Held calls wait here until they are let go; `undefined`: nothing is held. */
  hold: ((method: string, item: string) => Promise<unknown> | undefined) | undefined
  step(method: string, item: string, text?: string, accessible?: unknown): Promise<void>
  restart(): void
}

export interface KeychainItem {
  data: Buffer
  readonly accessible: unknown
  readonly isAuthenticated: boolean
}

export interface Encrypted {
  readonly text: string
  readonly key: number
  readonly isAuthenticated: boolean
  isBroken?: boolean
}

export function createDevice(): Device {
  let isDead = false
  const device: Device = {
    keychain: new Map(),
    preferences: new Map(),
    keystore: new Map(),
    state: 'unlocked',
    killAt: 0,
    calls: 0,
    log: [],
    prompts: 0,
    cancels: false,
    hold: undefined,
    async step(method, item, text = '', accessible) {
      device.calls++
      if (isDead || device.calls === device.killAt) {
        isDead = true
        throw new Error('The process was killed.')
      }
      device.log.push({ method, item, bytes: Buffer.byteLength(text), accessible })
      await device.hold?.(method, item)
    },
    restart() {
      isDead = false
      device.killAt = 0
      device.calls = 0
      device.log.length = 0
      device.hold = undefined
    },
  }
  return device
}

export const nativeError = (code: string, message: string) => Object.assign(new Error(message), { code })

/** kSecAttrAccessible: 0 and 1 are AFTER_FIRST_UNLOCK (SecureStoreAccessible.swift), as are the module's strings of react-native-keychain. */
export function isReadable(device: Device, accessible: unknown): boolean {
  if (device.state === 'unlocked') return true
  const isAfterFirstUnlock =
    [0, 1].includes(accessible as number) || /^AccessibleAfterFirstUnlock/.test(`${accessible}`)
  return device.state === 'locked' && isAfterFirstUnlock
}
