import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { expoSecureStore, reactNativeKeychain } from '../../src/react-native.ts'
import { createApp, storageKey, url } from './app.ts'
import { createDevice } from './device.ts'
import { keychainAndroid, keychainIos } from './fake-keychain.ts'
import { secureStoreAndroid, secureStoreIos } from './fake-secure-store.ts'
import { flavours } from './flavours.ts'

// As React Native: no locks, no channels.
beforeEach(() => {
  vi.stubGlobal('navigator', { product: 'ReactNative' })
  vi.stubGlobal('BroadcastChannel', undefined)
})

afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

const iosStores = flavours.filter(([name]) => name.endsWith('iOS'))
const androidStores = flavours.filter(([name]) => name.endsWith('Android'))

describe('07 secure storage that cannot be read now', () => {
  it.each(iosStores)(
    '07 before the first unlock, %s signs nobody out and wipes nothing; the next call after it works',
    async (_name, store) => {
      const device = createDevice()
      const app = createApp(() => store(device))
      await app.start().signIn('user')
      device.restart()
      device.state = 'before-first-unlock'
      const before = [...device.keychain]
      const session = app.start()
      const events: string[] = []
      session.on('signed-out', ({ reason }) => events.push(reason))
      expect(session.state.status).toBe('starting')
      await expect(session.fetch(url)).rejects.toMatchObject({ code: 'storage_unavailable', retryable: true })
      expect(session.state).toMatchObject({ status: 'starting', error: { code: 'storage_unavailable' } })
      expect(events).toEqual([])
      expect([...device.keychain]).toEqual(before)
      device.state = 'unlocked'
      expect((await session.fetch(url)).status).toBe(200)
      expect(session.state.status).toBe('signed-in')
    },
  )

  it.each(iosStores)(
    '07 by default %s reads and saves on a locked phone that was unlocked once',
    async (_name, store) => {
      const device = createDevice()
      const app = createApp(() => store(device))
      await app.start().signIn('user')
      device.restart()
      device.state = 'locked'
      expect((await app.start().fetch(url)).status).toBe(200)
    },
  )

  it('07 items of another class are written anew at the first good read, since an item keeps its class for life', async () => {
    const device = createDevice()
    const app = (keychainAccessible?: number) =>
      createApp(() => expoSecureStore(secureStoreIos(device), { keychainAccessible }))
    const whenUnlocked = app(5)
    await whenUnlocked.start().signIn('user')
    expect(new Set([...device.keychain.values()].map(item => item.accessible))).toEqual(new Set([5]))

    device.restart()
    device.state = 'locked'
    const update = expoSecureStore(secureStoreIos(device))
    await expect(update.getItem(storageKey)).rejects.toMatchObject({ code: 'ERR_KEY_CHAIN' })
    device.state = 'unlocked'
    const text = await update.getItem(storageKey)
    await update.getItem(storageKey) // behind the rewriting
    expect(new Set([...device.keychain.values()].map(item => item.accessible))).toEqual(new Set([0]))
    device.state = 'locked'
    expect(await update.getItem(storageKey)).toBe(text)
  })

  it('07 what a killed write of another class left is not written over, but made anew', async () => {
    for (let killAt = 1; killAt < 16; killAt++) {
      const device = createDevice()
      const text = 'x'.repeat(5000)
      await expoSecureStore(secureStoreIos(device), { keychainAccessible: 5 }).setItem(storageKey, 'before')
      device.restart()
      device.killAt = killAt
      const dying = expoSecureStore(secureStoreIos(device), { keychainAccessible: 5 })
      await Promise.resolve(dying.setItem(storageKey, text)).catch(() => undefined)
      device.restart()
      // A sign-in writes without having read.
      await expoSecureStore(secureStoreIos(device)).setItem(storageKey, text)
      expect(new Set([...device.keychain.values()].map(item => item.accessible))).toEqual(new Set([0]))
    }
  })

  it('07 a kill at any call of the rewriting leaves the record, of the one class or the other', async () => {
    for (let killAt = 1; killAt < 30; killAt++) {
      const device = createDevice()
      const text = 'x'.repeat(5000)
      await expoSecureStore(secureStoreIos(device), { keychainAccessible: 5 }).setItem(storageKey, text)
      device.restart()
      device.killAt = killAt
      const dying = expoSecureStore(secureStoreIos(device))
      await Promise.resolve(dying.getItem(storageKey)).catch(() => undefined)
      await Promise.resolve(dying.getItem(storageKey)).catch(() => undefined)
      device.restart()
      expect(await expoSecureStore(secureStoreIos(device)).getItem(storageKey)).toBe(text)
    }
  })
})

describe('17 Android’s Keystore can not decrypt any more, or hangs', () => {
  it.each(androidStores)('17 %s: one signed-out with its reason, and sign-in works again', async (_name, store) => {
    const device = createDevice()
    const app = createApp(() => store(device))
    await app.start().signIn('user')
    for (const item of device.preferences.values()) item.isBroken = true
    const untouched = { text: 'another app item', key: 0, isAuthenticated: false }
    device.preferences.set('latchkey-another.0.0', untouched)

    device.restart()
    const session = app.start()
    const reasons: string[] = []
    session.on('signed-out', ({ reason }) => reasons.push(reason))
    await expect(session.fetch(url)).rejects.toMatchObject({ code: 'signed_out' })
    expect(session.state).toEqual({ status: 'signed-out', reason: 'storage_corrupt' })
    expect(reasons).toEqual(['storage_corrupt'])
    await session.signIn('user')
    expect((await session.fetch(url)).status).toBe(200)

    device.restart()
    expect((await app.start().fetch(url)).status).toBe(200)
    expect(device.preferences.get('latchkey-another.0.0')).toBe(untouched)
  })

  it.each(androidStores)('17 %s: where both slots are broken, a new record counts', async (_name, store) => {
    const device = createDevice()
    // Killed between the new head and the removal of the old one: both are there.
    await store(device).setItem(storageKey, 'first')
    for (let killAt = 1; [...device.preferences.keys()].filter(name => name.endsWith('head')).length < 2; killAt++) {
      device.restart()
      device.killAt = killAt
      await Promise.resolve(store(device).setItem(storageKey, 'second')).catch(() => undefined)
    }
    for (const item of device.preferences.values()) item.isBroken = true
    device.restart()
    await expect(store(device).getItem(storageKey)).rejects.toMatchObject({ code: 'storage_corrupt' })
    await store(device).setItem(storageKey, 'third')
    expect(await store(device).getItem(storageKey)).toBe('third')
  })

  it('17 one part that is gone (expo-secure-store reads it as null) is corrupt, never a shorter record', async () => {
    const device = createDevice()
    const storage = expoSecureStore(secureStoreAndroid(device))
    await storage.setItem(storageKey, 'x'.repeat(5000))
    const parts = [...device.preferences.keys()].filter(name => !name.endsWith('head'))
    for (const part of parts) {
      const kept = device.preferences.get(part)!
      device.preferences.delete(part)
      await expect(storage.getItem(storageKey)).rejects.toMatchObject({ code: 'storage_corrupt' })
      device.preferences.set(part, kept)
    }
    expect(await storage.getItem(storageKey)).toHaveLength(5000)
  })

  it.each([
    ['E_KEYSTORE_ACCESS_ERROR', 'Could not access Keystore'],
    ['E_UNKNOWN_ERROR', 'Could not decrypt'],
    ['E_CRYPTO_FAILED', 'code: 13, msg: Cancel'],
  ])('17 react-native-keychain’s %s, “%s”, is not corrupt: nothing is wiped', async (code, message) => {
    const device = createDevice()
    const module = keychainAndroid(device)
    const app = createApp(() => reactNativeKeychain(module))
    await app.start().signIn('user')
    const failing = {
      ...module,
      getGenericPassword: async () => {
        throw Object.assign(new Error(message), { code })
      },
    }
    const session = createApp(() => reactNativeKeychain(failing)).start()
    await expect(session.fetch(url)).rejects.toMatchObject({ code: 'storage_unavailable' })
    expect(session.state.status).toBe('starting')
  })

  it.each(flavours)('17 a read of %s that never settles ends in time, and the next one works', async (_name, store) => {
    const device = createDevice()
    const app = createApp(() => store(device))
    await app.start().signIn('user')
    device.restart()
    vi.useFakeTimers()
    device.hold = () => new Promise(() => undefined)
    // The mutex of react-native-keychain stays held until the app restarts: that process is given up.
    const session = app.start()
    const call = expect(session.fetch(url)).rejects.toMatchObject({ code: 'storage_unavailable' })
    await vi.advanceTimersByTimeAsync(5_001)
    await call
    expect(session.state.status).toBe('starting')
    device.restart()
    const isBlocked = _name === 'reactNativeKeychain, Android'
    const next = isBlocked ? app.start() : session
    expect((await next.fetch(url)).status).toBe(200)
  })

  it.each(flavours)(
    '17 a write of %s that never settles blocks neither the queue nor the session',
    async (_name, store) => {
      const device = createDevice()
      const app = createApp(() => store(device))
      const session = app.start()
      await session.signIn('user')
      vi.useFakeTimers()
      device.hold = method => (method === 'set' ? new Promise(() => undefined) : undefined)
      const adopting = session.adopt({ access_token: 'x', expires_in: 60 })
      await vi.advanceTimersByTimeAsync(5_001)
      await adopting
      expect(await session.getAccessToken()).toBe('x')
      if (_name === 'reactNativeKeychain, Android') return // its mutex
      device.hold = undefined
      const saved = session.adopt({ access_token: 'y', expires_in: 60 })
      await vi.advanceTimersByTimeAsync(5_001)
      await saved
      expect(await store(device).getItem(storageKey)).toContain('"accessToken":"y"')
    },
  )

  it('17 a write that was given up and lands in the middle of a later record does not tear it for good', async () => {
    const device = createDevice()
    const module = secureStoreIos(device)
    const storage = expoSecureStore(module)
    await storage.setItem(storageKey, 'a'.repeat(3000))
    vi.useFakeTimers()
    let land: (() => void) | undefined
    let heldItem = ''
    device.hold = (method, item) => {
      if (method !== 'set' || land) return undefined
      heldItem = item
      return new Promise<void>(resolve => {
        land = resolve
      })
    }
    const lost = expect(storage.setItem(storageKey, 'b'.repeat(3000))).rejects.toThrow(/did not answer within 5000 ms/)
    await vi.advanceTimersByTimeAsync(5_001)
    await lost
    await storage.setItem(storageKey, 'c'.repeat(3000))
    const standing = device.keychain.get(`latchkey:no-auth/${heldItem}`)!
    expect(standing.data.toString()).toMatch(/^c+$/)
    land?.()
    await vi.advanceTimersByTimeAsync(0)
    expect(standing.data.toString()).not.toMatch(/^c+$/)
    expect(await storage.getItem(storageKey)).toBe('c'.repeat(3000))
    expect(await expoSecureStore(secureStoreIos(device)).getItem(storageKey)).toBe('c'.repeat(3000))
  })

  it.each(flavours)('17 writes of one key of %s are done one after the other', async (_name, store) => {
    const device = createDevice()
    const storage = store(device)
    const texts = Array.from({ length: 8 }, (_, index) => `${index}`.repeat(2500))
    await Promise.all(texts.map(text => storage.setItem(storageKey, text)))
    expect(await storage.getItem(storageKey)).toBe(texts.at(-1))
  })
})

describe('44 the iOS keychain outlives the app', () => {
  const stores = iosStores
  const markerOf = (items: Map<string, string>) => ({
    getItem: async (key: string) => items.get(key) ?? null,
    setItem: async (key: string, value: string) => void items.set(key, value),
  })

  it.each(stores)(
    '44 %s with onReinstall: wipe does not restore the session of a deleted app',
    async (_name, store) => {
      const device = createDevice()
      const marker = new Map<string, string>()
      const start = () => store(device, { onReinstall: 'wipe', marker: markerOf(marker) })
      await start().setItem(storageKey, 'old session')
      await start().setItem('latchkey:other', 'another old session')
      expect(await start().getItem(storageKey)).toBe('old session')
      marker.clear()
      expect(await start().getItem(storageKey)).toBeUndefined()
      // The second session is met only after the marker is there again.
      expect(await start().getItem('latchkey:other')).toBeUndefined()
      expect(device.keychain.size).toBe(0)
      await start().setItem(storageKey, 'new session')
      expect(await start().getItem(storageKey)).toBe('new session')
    },
  )

  it.each(stores)('44 %s keeps the session over a reinstall by default', async (_name, store) => {
    const device = createDevice()
    await store(device).setItem(storageKey, 'text')
    expect(await store(device).getItem(storageKey)).toBe('text')
  })

  it.each(stores)(
    '44 %s: turning wipe on in an update signs nobody out, and guards from then on',
    async (_name, store) => {
      const device = createDevice()
      const marker = new Map<string, string>()
      await store(device).setItem(storageKey, 'text')
      const update = store(device, { onReinstall: 'wipe', marker: markerOf(marker) })
      expect(await update.getItem(storageKey)).toBe('text')
      expect(await update.getItem(storageKey)).toBe('text')
      expect(marker.size).toBe(1)
      marker.clear()
      expect(await store(device, { onReinstall: 'wipe', marker: markerOf(marker) }).getItem(storageKey)).toBeUndefined()
    },
  )

  it.each(stores)('44 %s: a marker that can not be read wipes nothing', async (_name, store) => {
    const device = createDevice()
    const marker = markerOf(new Map())
    await store(device, { onReinstall: 'wipe', marker }).setItem(storageKey, 'text')
    const broken = { ...marker, getItem: async () => Promise.reject(new Error('database is locked')) }
    const session = createApp(() => store(device, { onReinstall: 'wipe', marker: broken })).start()
    await expect(session.fetch(url)).rejects.toMatchObject({ code: 'storage_unavailable' })
    expect(await store(device, { onReinstall: 'wipe', marker }).getItem(storageKey)).toBe('text')
  })

  it.each(stores)('44 %s: a marker that can not be written costs nobody the session', async (_name, store) => {
    const device = createDevice()
    const marker = { getItem: async () => null, setItem: () => Promise.reject(new Error('disk full')) }
    await store(device, { onReinstall: 'wipe', marker }).setItem(storageKey, 'text')
    expect(await store(device, { onReinstall: 'wipe', marker }).getItem(storageKey)).toBe('text')
  })

  it.each(stores)(
    '44 %s: killed at any call of its life with a marker, it never loses a session of this install',
    async (_name, store) => {
      for (let killAt = 1; killAt < 24; killAt++) {
        const device = createDevice()
        const items = new Map<string, string>()
        const plain = markerOf(items)
        const marker = {
          async getItem(key: string) {
            await device.step('marker-get', key)
            return plain.getItem(key)
          },
          async setItem(key: string, value: string) {
            await device.step('marker-set', key)
            await plain.setItem(key, value)
          },
        }
        await store(device).setItem(storageKey, 'before')
        device.restart()
        device.killAt = killAt
        const dying = store(device, { onReinstall: 'wipe', marker })
        const found = await Promise.resolve(dying.getItem(storageKey)).catch(() => 'killed')
        await Promise.resolve(dying.setItem(storageKey, 'after')).catch(() => undefined)
        device.restart()
        expect(['before', 'killed']).toContain(found)
        expect(['before', 'after']).toContain(await store(device, { onReinstall: 'wipe', marker }).getItem(storageKey))
      }
    },
  )

  it('44 wipe without a marker is a mistake that says what to write', () => {
    const module = keychainIos(createDevice())
    expect(() => reactNativeKeychain(module, { onReinstall: 'wipe' })).toThrow(/marker: AsyncStorage/)
  })
})

describe('45 expo-secure-store’s size limit', () => {
  const sizes = [1, 2047, 2048, 2049, 4096, 16 * 1024, 64 * 1024]

  it.each([
    ['iOS', secureStoreIos],
    ['Android', secureStoreAndroid],
  ])('45 on %s any size comes back whole, and no native value is above 2,048 bytes', async (_platform, module) => {
    for (const unit of ['x', 'ü', '漢', '💂', 'a💂']) {
      for (const size of sizes) {
        const device = createDevice()
        const text = unit.repeat(Math.ceil(size / Buffer.byteLength(unit)))
        await expoSecureStore(module(device)).setItem(storageKey, text)
        expect(Math.max(...device.log.map(({ bytes }) => bytes))).toBeLessThanOrEqual(2048)
        expect(await expoSecureStore(module(device)).getItem(storageKey)).toBe(text)
      }
    }
  })

  it('45 a shorter record leaves no chunk of the longer one', async () => {
    const device = createDevice()
    const storage = expoSecureStore(secureStoreIos(device))
    await storage.setItem(storageKey, 'x'.repeat(20_000))
    expect(device.keychain.size).toBe(11)
    await storage.setItem(storageKey, 'y')
    expect(device.keychain.size).toBe(2)
    await storage.removeItem(storageKey)
    expect(device.keychain.size).toBe(0)
  })
})

describe('biometric prompts', () => {
  it.each(flavours)('%s never prompts unless asked to', async (_name, store) => {
    const device = createDevice()
    const app = createApp(() => store(device))
    const session = app.start()
    await session.signIn('user')
    await session.renew()
    await app.start().fetch(url)
    expect(device.prompts).toBe(0)
    expect(store(device).interactive).toBeUndefined()
  })

  it.each(iosStores)(
    '%s with prompts asks once per process, at the read, however many calls there are',
    async (_name, store) => {
      const device = createDevice()
      const app = createApp(() => store(device, { prompts: true }))
      await app.start().signIn('user')
      expect(device.prompts).toBe(0)
      device.restart()
      const session = app.start()
      await Promise.all(Array.from({ length: 20 }, () => session.fetch(url)))
      await session.renew()
      expect(device.prompts).toBe(1)
    },
  )

  it.each(flavours)(
    '%s: a cancelled prompt is storage_unavailable, and the next call asks again',
    async (_name, store) => {
      const device = createDevice()
      const app = createApp(() => store(device, { prompts: true }))
      await app.start().signIn('user')
      device.restart()
      device.cancels = true
      const session = app.start()
      await expect(session.fetch(url)).rejects.toMatchObject({ code: 'storage_unavailable' })
      device.cancels = false
      expect((await session.fetch(url)).status).toBe(200)
    },
  )
})

describe('a session on each store', () => {
  it.each(flavours)(
    '%s: sign-in, restart, 20 calls at once with one renewal, restart, sign-out',
    async (_name, store) => {
      const device = createDevice()
      const app = createApp(() => store(device))
      await app.start().signIn('user')

      device.restart()
      const second = app.start()
      expect((await second.fetch(url)).status).toBe(200)
      const rejected = await second.getAccessToken()
      await second.renew()
      expect(await second.getAccessToken()).not.toBe(rejected)
      expect(app.server.renewals).toBe(1)

      device.restart()
      const third = app.start()
      expect((await third.fetch(url)).status).toBe(200)
      await third.signOut()
      device.restart()
      const fourth = app.start()
      await fourth.ready
      expect(fourth.state.status).toBe('signed-out')
      await expect(fourth.fetch(url)).rejects.toMatchObject({ code: 'signed_out' })
    },
  )
})
