import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  createSession,
  type Grant,
  type Lock,
  memoryStorage,
  type SessionOptions,
  type TokenStorage,
} from '../../src/index.ts'
import { memoryLock } from '../../src/locks/memory.ts'
import { createNetwork, settle } from '../engine/contexts-fakes.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

afterEach(() => {
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

const resources = 'https://api.example.com'
const response = (name = 'a') => ({ access_token: secret(name), refresh_token: secret(`r-${name}`), expires_in: 60 })

/** A storage that others may share, and what was asked of it. */
function createShared(more: Partial<TokenStorage> = {}) {
  const items = new Map<string, string>()
  const keys: string[] = []
  const storage: TokenStorage = {
    getItem(key) {
      keys.push(key)
      return items.get(key)
    },
    setItem: (key, value) => void items.set(key, value),
    removeItem: key => void items.delete(key),
    ...more,
  }
  return { items, keys, storage }
}

/** A lock that says what it was asked for. */
function createLock() {
  const names: string[] = []
  const inner = memoryLock()
  const lock: Lock = {
    request(name, options, callback) {
      names.push(name)
      return inner.request(name, options, callback)
    },
  }
  return { lock, names }
}

const silent = { postMessage() {}, addEventListener() {}, removeEventListener() {}, close() {} }

async function start(options: Partial<SessionOptions<void>> = {}) {
  const session = createSession<void>({ resources, grant: async () => response('renewed'), ...options })
  const told: string[] = []
  session.on('degraded', ({ what }) => told.push(what))
  await session.ready
  await settle()
  return { session, told }
}

describe('the key', () => {
  it.each([
    [{ name: 'work' }, 'latchkey:work'],
    [{}, 'latchkey:api.example.com'],
    [{ resources: ['https://b.example.com', 'https://a.example.com/v1'] }, 'latchkey:a.example.com,b.example.com'],
    [{ resources: () => true }, 'latchkey:default'],
    [{ resources: () => true, name: 'x' }, 'latchkey:x'],
  ] as [Partial<SessionOptions<void>>, string][])('of %o is %s', async (options, key) => {
    const { storage, keys } = createShared()
    await start({ ...options, storage, channel: silent })
    expect(new Set(keys)).toEqual(new Set([key]))
  })
})

describe('the grant’s name stands in the record', () => {
  const grant = (name?: string): Grant<void> => ({ renew: async () => response('renewed'), ...(name && { name }) })

  it.each([
    [undefined, undefined, 'signed-in'],
    ['one', 'one', 'signed-in'],
    ['one', 'other', 'signed-out'],
    ['one', undefined, 'signed-in'],
    [undefined, 'one', 'signed-in'],
  ] as const)('what %s stored is for %s: %s', async (writer, reader, status) => {
    const storage = memoryStorage()
    const { session } = await start({ storage, grant: grant(writer) })
    await session.adopt(response())
    const stored = JSON.parse((await storage.getItem('latchkey:api.example.com')) as string)
    expect(stored.grant).toBe(writer ?? 'custom')
    expect((await start({ storage, grant: grant(reader) })).session.state.status).toBe(status)
  })

  it('and a sign-out of one is one of all', async () => {
    const storage = memoryStorage()
    const { session } = await start({ storage, grant: grant('one') })
    await session.adopt(response())
    await session.signOut()
    expect((await start({ storage, grant: grant('other') })).session.state).toEqual({ status: 'signed-out' })
  })
})

describe('the storage', () => {
  it('is memory by default, which is not told as missing', async () => {
    const { session, told } = await start()
    await session.adopt(response())
    expect(told).toEqual([])
    expect((await start()).session.state.status).toBe('signed-out')
  })

  it.each([
    ['null', null],
    ['a function that gives none', () => undefined],
    [
      'a function that throws',
      () => {
        throw new Error('blocked')
      },
    ],
    ['what has no getItem', {}],
    ['a getItem that is no function', { getItem: 'x' }],
  ] as [string, never][])('that is %s is replaced by memory, and told', async (_what, storage) => {
    const { session, told } = await start({ storage })
    expect(told).toEqual(['storage'])
    await session.adopt(response())
    expect(session.state.status).toBe('signed-in')
  })

  it('may be given by a function, and may be the platform’s own', async () => {
    const { storage, keys } = createShared({ scope: 'context' })
    await start({ storage: () => storage })
    expect(keys).toHaveLength(1)
    vi.stubGlobal('document', { addEventListener() {}, removeEventListener() {} })
    const items = new Map<string, string>()
    const web = {
      [Symbol.toStringTag]: 'Storage',
      getItem: (key: string) => items.get(key) ?? null,
      setItem: (key: string, value: string) => void items.set(key, value),
      removeItem: (key: string) => void items.delete(key),
      lock: { request: () => expect.fail('somebody stored an item of this name') },
    } as unknown as Storage
    const { session, told } = await start({ storage: web, channel: silent })
    await session.adopt(response())
    await session.renew()
    expect(told).toEqual([])
    expect([...items.keys()]).toEqual(['latchkey:api.example.com'])
  })

  it('that can not be watched, or says nothing of its end, is used without', async () => {
    const broken = () => {
      throw new Error('no events here')
    }
    const { session } = await start({ ...createShared({ watch: broken, onDegraded: broken }), channel: silent })
    await session.adopt(response())
    session.dispose()
    const odd = { watch: 'x', onDegraded: 'y' } as unknown as TokenStorage
    const other = await start({ ...createShared(odd), channel: silent })
    other.session.dispose()
  })

  it('that says something changed is read, by the key of the session, until it is disposed', async () => {
    const stops: string[] = []
    let changed: (key: string) => void = () => undefined
    let watched: string | undefined
    const { storage, keys } = createShared({
      watch(key, listener) {
        watched = key
        changed = listener
        return () => stops.push('watch')
      },
      onDegraded(listener) {
        listener({ what: 'lock' })
        return () => stops.push('onDegraded')
      },
    })
    const { session, told } = await start({ storage, channel: silent })
    expect(watched).toBe('latchkey:api.example.com')
    expect(told).toEqual(['lock'])
    const before = keys.length
    changed('')
    expect(keys.length).toBe(before + 1)
    await session.adopt(response())
    await storage.removeItem('latchkey:api.example.com')
    changed('')
    expect(session.state).toEqual({ status: 'signed-out', reason: 'elsewhere' })
    session.dispose()
    expect(stops).toEqual(['watch', 'onDegraded'])
  })

  it('that prompts is written once for a renewal, another twice', async () => {
    const writes = async (more: Partial<TokenStorage>) => {
      const setItem = vi.fn()
      const { session } = await start({ storage: createShared({ setItem, ...more }).storage, channel: silent })
      await session.adopt(response())
      setItem.mockClear()
      await session.renew()
      return setItem.mock.calls.length
    }
    expect([await writes({ interactive: true }), await writes({})]).toEqual([1, 2])
    expect(await writes({ interactive: 'yes' as never })).toBe(2)
  })

  it('that can not be written costs a sign-in that nobody else has nothing, unless it is read-only', async () => {
    const full = () => {
      throw new Error('full')
    }
    const renew = async (more: Partial<TokenStorage>) => {
      const { session } = await start({ storage: { ...memoryStorage(), replaceItem: full, setItem: full, ...more } })
      await session.adopt(response())
      return session.renew().catch(error => error.code)
    }
    expect(await renew({})).toEqual({ how: 'renewed' })
    expect(await renew({ readOnly: true })).toBe('read_only')
    expect(await renew({ readOnly: 'yes' as never })).toEqual({ how: 'renewed' })
  })

  it.each([
    [{ readOnly: true }, 'read_only'],
    [{ setItem: () => Promise.reject(Object.assign(new Error(), { code: 'read_only' })) }, 'read_only'],
    [{ setItem: () => Promise.reject(new Error('full')) }, 'storage_unavailable'],
    [{ setItem: () => Promise.reject(undefined) }, 'storage_unavailable'],
    [{ setItem: () => Promise.reject(null) }, 'storage_unavailable'],
  ] as [Partial<TokenStorage>, string][])('that is %o fails as %s, and says what to do', async (more, code) => {
    const { session } = await start({ storage: createShared(more).storage, channel: silent })
    const failed: { code: string; message: string; cause?: unknown }[] = []
    session.on('storage-failed', ({ error }) => failed.push(error))
    await session.adopt(response())
    expect(failed).toMatchObject([{ code }])
    expect(failed[0]?.message).toMatch(
      code === 'read_only' ? /not spent.*Renew where it can/ : /Nothing is lost; try again/,
    )
    expect('cause' in (failed[0] ?? {})).toBe(true)
    session.dispose()
  })
})

describe('the lock', () => {
  const renewed = async (options: Partial<SessionOptions<void>>) => {
    const { session, told } = await start({ channel: silent, ...options })
    await session.adopt(response())
    await session.renew()
    const id = session.state.status
    return { session, told, id }
  }

  it('that was named goes first, then the storage’s, then the platform’s', async () => {
    const [named, ofStorage, ofPlatform] = [createLock(), createLock(), createLock()]
    vi.stubGlobal('navigator', { locks: ofPlatform.lock })
    const counts = () => [named, ofStorage, ofPlatform].map(({ names }) => names.length > 0)
    const { told } = await renewed({ storage: createShared().storage })
    expect(counts()).toEqual([false, false, true])
    ofPlatform.names.length = 0
    await renewed({ storage: createShared({ lock: ofStorage.lock }).storage })
    expect(counts()).toEqual([false, true, false])
    ofStorage.names.length = 0
    await renewed({ storage: createShared({ lock: ofStorage.lock }).storage, lock: named.lock })
    expect(counts()).toEqual([true, false, false])
    expect(told).toEqual([])
  })

  it.each([{}, { request: 'no function' }, 7])('of a storage that is %o is none', async lock => {
    const platform = createLock()
    vi.stubGlobal('navigator', { locks: platform.lock })
    await renewed({ storage: createShared({ lock: lock as never }).storage })
    expect(platform.names.length).toBeGreaterThan(0)
  })

  it.each([undefined, {}, { locks: null }, { locks: { request: 7 } }])(
    'where the platform has none, navigator being %o, is one of this realm, and told',
    async navigator => {
      vi.stubGlobal('navigator', navigator)
      const { storage } = createShared()
      let running = 0
      let most = 0
      const grant = async () => {
        most = Math.max(most, ++running)
        await settle()
        running--
        return response('renewed')
      }
      const one = await renewed({ storage, grant })
      const other = await start({ storage, grant, channel: silent })
      expect([one.told, other.told]).toEqual([['lock'], ['lock']])
      await Promise.all([one.session.renew(), other.session.renew()])
      expect(most).toBe(1)
    },
  )

  it('of a React Native app is not missed', async () => {
    vi.stubGlobal('navigator', { product: 'ReactNative' })
    expect((await renewed({ storage: createShared().storage })).told).toEqual([])
  })

  it('is named by the key; by the sign-in too in a storage of a tab; and there is none where nobody else is', async () => {
    const named = async (scope: TokenStorage['scope'], isNamed = true) => {
      const { lock, names } = createLock()
      vi.stubGlobal('navigator', { locks: lock })
      const { storage, items } = createShared({ scope })
      await renewed({ storage, ...(isNamed && { lock }) })
      const { id } = JSON.parse(items.get('latchkey:api.example.com') as string)
      return [...new Set(names)].map(name => name.replace(id, 'id'))
    }
    expect(await named('shared')).toEqual(['latchkey:api.example.com'])
    expect(await named(undefined)).toEqual(['latchkey:api.example.com'])
    expect(await named('tab')).toEqual(['latchkey:api.example.com:id'])
    expect(await named('context')).toEqual(['latchkey:api.example.com'])
    expect(await named('context', false)).toEqual([])
    expect(await named('tab', false)).toEqual(['latchkey:api.example.com:id'])
  })
})

describe('the channel', () => {
  let opened: { name: string; isClosed: boolean; isFree: boolean }[]
  beforeEach(() => {
    opened = []
    vi.stubGlobal(
      'BroadcastChannel',
      class {
        readonly entry: (typeof opened)[number]
        constructor(name: string) {
          this.entry = { name, isClosed: false, isFree: false }
          opened.push(this.entry)
        }
        postMessage() {}
        addEventListener() {}
        removeEventListener() {}
        unref() {
          this.entry.isFree = true
        }
        close() {
          this.entry.isClosed = true
        }
      },
    )
  })

  it('is the platform’s, by the key, holds no process and is closed in the end', async () => {
    const { session, told } = await start(createShared())
    expect(opened).toEqual([{ name: 'latchkey:api.example.com', isClosed: false, isFree: true }])
    session.dispose()
    expect(opened[0]?.isClosed).toBe(true)
    expect(told).toEqual([])
  })

  it('that needs no unref is as good', async () => {
    const Platform = BroadcastChannel
    vi.stubGlobal(
      'BroadcastChannel',
      class extends Platform {
        readonly unref = undefined as never
      },
    )
    expect((await start(createShared())).told).toEqual([])
    expect(opened).toHaveLength(1)
  })

  it('is not opened where nobody else is, or another was given', async () => {
    await start()
    await start({ ...createShared(), channel: silent })
    expect(opened).toEqual([])
  })

  it('that throws is told, and that breaks later too', async () => {
    vi.stubGlobal('BroadcastChannel', undefined)
    expect((await start(createShared())).told).toEqual(['channel'])
    const broken = {
      ...silent,
      postMessage() {
        throw new Error('closed')
      },
    }
    const { session, told } = await start({ ...createShared(), channel: broken })
    await session.adopt(response())
    await settle()
    expect(new Set(told)).toEqual(new Set(['channel']))
  })

  it('tells others what was written and what has ended', async () => {
    const network = createNetwork()
    const { session } = await start({ ...createShared(), channel: network.join() })
    await session.adopt(response())
    await session.signOut()
    expect(network.messages.map(({ what }) => what)).toEqual(['changed', 'signed-out'])
  })
})

describe('session objects on one storage', () => {
  it('hear of each other without a channel, until they are disposed', async () => {
    const { storage } = createShared()
    const [one, other, gone] = await Promise.all(
      Array.from({ length: 3 }, () => start({ storage, channel: silent }).then(({ session }) => session)),
    )
    gone?.dispose()
    await one?.adopt(response())
    expect(other?.state.status).toBe('signed-in')
    expect(gone?.state.status).toBe('signed-out')
    await one?.signOut()
    expect(other?.state).toEqual({ status: 'signed-out', reason: 'elsewhere' })
  })

  it('on another key hear nothing', async () => {
    const { storage } = createShared()
    const [one, other] = [
      (await start({ storage, channel: silent })).session,
      (await start({ storage, channel: silent, name: 'other' })).session,
    ]
    await one.adopt(response())
    expect(other.state.status).toBe('signed-out')
  })
})

describe('the wakes', () => {
  it('of an option, one or several, are heard until the session is disposed', async () => {
    const listeners = new Set<() => void>()
    const wake = (listener: () => void) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    }
    const { storage, keys } = createShared()
    const { session } = await start({ storage, channel: silent, wake: [wake, wake], resources })
    expect(listeners.size).toBe(2)
    await session.adopt(response())
    const before = keys.length
    for (const listener of listeners) listener()
    await session.getAccessToken()
    expect(keys.length).toBeGreaterThan(before) // read before anything is sent
    session.dispose()
    expect(listeners.size).toBe(0)
    await start({ wake })
    expect(listeners.size).toBe(1)
  })

  it('end the back-off, of views too', async () => {
    let wakeUp: () => void = () => undefined
    let isDown = true
    const { session } = await start({
      wake: listener => {
        wakeUp = listener
        return () => undefined
      },
      async grant() {
        if (isDown) throw { status: 429, retryAfter: '120' }
        return response('renewed')
      },
    })
    await session.adopt(response())
    const view = session.for({ scope: 'read' })
    await expect(view.renew()).rejects.toMatchObject({ code: 'unreachable' })
    isDown = false
    await expect(view.renew()).rejects.toMatchObject({ code: 'unreachable' })
    wakeUp()
    expect(await view.renew()).toEqual({ how: 'renewed' })
    expect(await session.renew()).toEqual({ how: 'renewed' })
  })

  it('make a view read before it is served', async () => {
    let wakeUp: () => void = () => undefined
    const { storage, keys } = createShared()
    const { session } = await start({
      storage,
      channel: silent,
      wake: listener => {
        wakeUp = listener
        return () => undefined
      },
    })
    await session.adopt(response())
    const view = session.for({ scope: 'read' })
    await view.getAccessToken()
    wakeUp()
    await settle()
    const before = keys.length
    await view.getAccessToken()
    expect(keys.length).toBe(before + 1)
  })

  it('check what is kept fresh', async () => {
    vi.useFakeTimers()
    const clock = createClock()
    let wakeUp: () => void = () => undefined
    let renewals = 0
    const { session } = await start({
      clock,
      keepFresh: true,
      wake: listener => {
        wakeUp = listener
        return () => undefined
      },
      grant: async () => response(`renewed-${++renewals}`),
    })
    await session.adopt(response())
    clock.advance(61_000) // no timer has run: the device slept
    expect(renewals).toBe(0)
    wakeUp()
    await settle()
    expect(renewals).toBe(1)
    session.dispose()
  })
})

describe('the numbers of a renewal', () => {
  it('are the defaults where what was given is no time', async () => {
    const contexts: { minIntervalMs: number }[] = []
    const minIntervalMs = async (given: unknown) => {
      const { session } = await start({
        renewal: { minIntervalMs: given } as never,
        grant: async (_tokens, context) => {
          contexts.push(context)
          return response('renewed')
        },
      })
      await session.adopt(response())
      await session.renew()
      return contexts.at(-1)?.minIntervalMs
    }
    for (const given of [undefined, null, -1, Number.NaN, '7']) expect(await minIntervalMs(given)).toBe(5000)
    expect([await minIntervalMs(0), await minIntervalMs(7)]).toEqual([0, 7])
  })
})

describe('a grant that can not renew', () => {
  it.each([
    ['has no renew', {}, 'signed_out'],
    ['says so', { renew: async () => response('renewed'), canRenew: () => false }, 'signed_out'],
  ] as [string, Grant<void>, string][])('because it %s is not asked', async (_what, grant, code) => {
    const clock = createClock()
    const { session } = await start({ grant, clock })
    await session.adopt(response())
    await expect(session.renew()).rejects.toMatchObject({ code })
    expect(await session.getAccessToken()).toBe(secret('a'))
    clock.advance(61_000)
    await expect(session.getAccessToken()).rejects.toMatchObject({ code })
    expect(session.state).toEqual({ status: 'signed-out', reason: 'expired' })
  })

  it('is asked with the tokens that it is asked about', async () => {
    const canRenew = vi.fn(() => true)
    const { session } = await start({ grant: { renew: async () => response('renewed'), canRenew } })
    await session.adopt(response())
    await session.renew()
    expect(canRenew).toHaveBeenCalledWith(expect.objectContaining({ accessToken: secret('a') }))
    expect(await session.getAccessToken()).toBe(secret('renewed'))
  })

  it('a refresh token that was refused is not asked about again', async () => {
    const clock = createClock()
    let calls = 0
    const { session } = await start({
      clock,
      grant: async () => {
        calls++
        throw { status: 400, error: 'invalid_grant' }
      },
    })
    await session.adopt(response())
    await expect(session.renew()).rejects.toMatchObject({ code: 'signed_out' })
    await expect(session.renew()).rejects.toMatchObject({ code: 'signed_out' })
    expect(calls).toBe(1)
    expect(session.state.status).toBe('signed-in')
  })
})

describe('a view', () => {
  it('of equal targets is one, of others another', async () => {
    let renewals = 0
    const { session } = await start({ grant: async () => response(`view-${++renewals}`) })
    await session.adopt(response())
    const token = (target: { resource?: string; scope?: string }) => session.for(target).getAccessToken()
    expect(await token({ scope: 'read' })).toBe(await token({ scope: 'read' }))
    expect(renewals).toBe(1)
    await token({ scope: 'write' })
    await token({ resource: resources })
    await token({ resource: resources, scope: 'read' })
    expect(renewals).toBe(4)
  })
})
