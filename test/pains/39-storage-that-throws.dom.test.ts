import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { secret } from '../support/no-leaks.ts'
import { recordEvents, settle } from './support.ts'

const url = 'https://api.example.com/items'
const tokens = { access_token: secret('access'), refresh_token: secret('refresh'), expires_in: 60 }

function denied(): never {
  throw Object.assign(new Error('The operation is insecure.'), { name: 'SecurityError' })
}
function full(): never {
  throw Object.assign(new Error('The quota has been exceeded.'), { name: 'QuotaExceededError' })
}

/** As browsers have it: `Object.prototype.toString` knows it for what it is. */
class PlatformStorage {
  readonly items = new Map<string, string>()
  get [Symbol.toStringTag]() {
    return 'Storage'
  }
  getItem(key: string) {
    return this.items.get(key) ?? null
  }
  setItem(key: string, value: string) {
    this.items.set(key, value)
  }
  removeItem(key: string) {
    this.items.delete(key)
  }
}

beforeEach(() => {
  vi.stubGlobal('localStorage', new PlatformStorage())
  vi.stubGlobal('sessionStorage', new PlatformStorage())
})
afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

const broken: [what: string, breakIt: () => void][] = [
  [
    'whose very property throws',
    () => {
      vi.spyOn(globalThis, 'localStorage', 'get').mockImplementation(denied)
      vi.spyOn(globalThis, 'sessionStorage', 'get').mockImplementation(denied)
    },
  ],
  [
    'that is null',
    () => {
      vi.stubGlobal('localStorage', null)
      vi.stubGlobal('sessionStorage', null)
    },
  ],
  [
    'that is not there',
    () => {
      vi.stubGlobal('localStorage', undefined)
      vi.stubGlobal('sessionStorage', undefined)
    },
  ],
  ['that throws at each read', () => vi.spyOn(PlatformStorage.prototype, 'getItem').mockImplementation(denied)],
]
const options = ['webStorage("local")', 'webStorage("session")', '() => localStorage', '() => sessionStorage'] as const

describe.each(broken)('pain 39: a storage %s', (_what, breakIt) => {
  it.each(options)(
    'as %s: import and creation work, memory takes over, and the app is told degraded once',
    async option => {
      breakIt()
      vi.resetModules()
      const { createSession, webStorage } = await import('../../src/index.ts')
      const session = createSession({
        resources: 'https://api.example.com',
        storage: {
          'webStorage("local")': () => webStorage('local'),
          'webStorage("session")': () => webStorage('session'),
          '() => localStorage': () => () => localStorage,
          '() => sessionStorage': () => () => sessionStorage,
        }[option](),
        grant: async () => ({ access_token: secret('renewed'), expires_in: 60 }),
        fetch: async (_input, init) => new Response(new Headers(init?.headers).get('authorization')),
      })
      const events = recordEvents(session)
      await session.ready
      expect(session.state).toEqual({ status: 'signed-out' })
      await session.adopt(tokens)
      expect(await (await session.fetch(url)).text()).toBe(`Bearer ${secret('access')}`)
      await session.renew()
      expect(await (await session.fetch(url)).text()).toBe(`Bearer ${secret('renewed')}`)
      await settle()
      expect(events).toEqual(['degraded storage', 'signed-in', 'renewed'])
      await session.signOut()
      session.dispose()
    },
  )
})

describe('pain 39: a storage that can be read and is full', () => {
  it('keeps nobody from signing in: memory serves, and the app is told that nothing is saved', async () => {
    vi.spyOn(PlatformStorage.prototype, 'setItem').mockImplementation(full)
    const { createSession } = await import('../../src/index.ts')
    const session = createSession({
      resources: 'https://api.example.com',
      storage: () => localStorage,
      lock: { request: async (_name, _options, callback) => callback({}) },
      grant: async () => ({ access_token: secret('renewed'), expires_in: 60 }),
      fetch: async (_input, init) => new Response(new Headers(init?.headers).get('authorization')),
    })
    const events = recordEvents(session)
    await session.adopt(tokens)
    expect(await (await session.fetch(url)).text()).toBe(`Bearer ${secret('access')}`)
    expect(events).toEqual(['signed-in', 'storage-failed'])
    // Nobody else has that refresh token: it may be spent.
    await session.renew()
    expect(await (await session.fetch(url)).text()).toBe(`Bearer ${secret('renewed')}`)
    await session.signOut()
    expect(session.state).toEqual({ status: 'signed-out', reason: 'requested' })
    session.dispose()
  })
})
