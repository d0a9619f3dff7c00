import { afterEach, describe, expect, it, vi } from 'vitest'
import { appState } from '../../src/session/app-state.ts'
import { stopOf } from '../../src/session/native-listener.ts'
import { netInfo } from '../../src/session/net-info.ts'
import { platformWake } from '../../src/session/platform-wake.ts'

afterEach(() => vi.unstubAllGlobals())

describe('the hints of a document', () => {
  function createPage() {
    const window = new EventTarget()
    const document = Object.assign(new EventTarget(), { visibilityState: 'visible' })
    vi.stubGlobal('document', document)
    vi.stubGlobal('addEventListener', window.addEventListener.bind(window))
    vi.stubGlobal('removeEventListener', window.removeEventListener.bind(window))
    const woken = vi.fn()
    const stop = platformWake(woken)
    return { window, document, woken, stop }
  }

  it.each([
    ['visibilitychange', 'document'],
    ['resume', 'document'],
    ['pageshow', 'window'],
    ['online', 'window'],
  ] as const)('%s wakes, until it is stopped', (type, where) => {
    const page = createPage()
    page[where].dispatchEvent(new Event(type))
    expect(page.woken).toHaveBeenCalledTimes(1)
    page.stop()
    page[where].dispatchEvent(new Event(type))
    expect(page.woken).toHaveBeenCalledTimes(1)
  })

  it('being hidden is no wake', () => {
    const { document, woken } = createPage()
    document.visibilityState = 'hidden'
    document.dispatchEvent(new Event('visibilitychange'))
    expect(woken).not.toHaveBeenCalled()
  })

  it.each([undefined, {}])('there are none where document is %o', document => {
    const listen = vi.fn()
    vi.stubGlobal('document', document)
    vi.stubGlobal('addEventListener', listen)
    expect(platformWake(() => undefined)()).toBeUndefined()
    expect(listen).not.toHaveBeenCalled()
  })

  it('there may be a document without a window to listen at', () => {
    vi.stubGlobal('document', new EventTarget())
    vi.stubGlobal('addEventListener', undefined)
    vi.stubGlobal('removeEventListener', undefined)
    expect(() => platformWake(() => undefined)()).not.toThrow()
  })
})

describe('the hints of React Native', () => {
  function createModule<State>() {
    let listener: ((state: State) => void) | undefined
    const types: unknown[] = []
    return {
      types,
      emit: (state: State) => listener?.(state),
      addEventListener(...given: ['change', (state: State) => void] | [(state: State) => void]) {
        types.push(given.length > 1 ? given[0] : undefined)
        listener = given.at(-1) as (state: State) => void
        return { remove: () => (listener = undefined) }
      },
    }
  }

  it('an app wakes once for each time that it was in the background', () => {
    const module = createModule<string>()
    const woken = vi.fn()
    const stop = appState(module)(woken)
    const counts = [
      'active',
      'inactive',
      'active',
      'background',
      'inactive',
      'active',
      'active',
      'background',
      'active',
    ]
    const told = counts.map(state => {
      module.emit(state)
      return woken.mock.calls.length
    })
    expect(told).toEqual([0, 0, 0, 0, 0, 1, 1, 1, 2])
    expect(module.types).toEqual(['change'])
    module.emit('background')
    stop()
    module.emit('active')
    expect(woken).toHaveBeenCalledTimes(2)
  })

  it('an older app is stopped by the type that it was listened to with', () => {
    const listeners = new Map<unknown, string>()
    const older = {
      addEventListener: (type: string, listener: unknown) => void listeners.set(listener, type),
      removeEventListener: (type: string, listener: unknown) => {
        if (listeners.get(listener) === type) listeners.delete(listener)
      },
    }
    appState(older)(() => undefined)()
    expect(listeners.size).toBe(0)
  })

  it.each([
    ['background', 1],
    ['active', 0],
    [null, 0],
    [undefined, 0],
  ])('an app that starts as %s and is active then wakes %d times', (currentState, times) => {
    const module = { ...createModule<string>(), currentState }
    const woken = vi.fn()
    const emit = module.emit
    appState(module)(woken)
    emit('active')
    expect(woken).toHaveBeenCalledTimes(times)
  })

  it.each([
    [[{ isConnected: false }, { isConnected: true }], 1],
    [
      [
        { isConnected: true, isInternetReachable: false },
        { isConnected: true, isInternetReachable: true },
      ],
      1,
    ],
    [[{ isConnected: false }, { isConnected: null }, { isConnected: true }], 1],
    [[{ isConnected: false }, { isConnected: true }, { isConnected: true }], 1],
    [[{ isConnected: false }, { isConnected: null }, {}], 0],
    [[{ isConnected: null }, { isConnected: true }], 0],
    [[{ isInternetReachable: null }, { isConnected: true }], 0],
    [[undefined, { isConnected: true }], 0],
    [[{ isConnected: false }, { isConnected: true, isInternetReachable: false }], 0],
  ] as const)('a network that shows %o wakes %d times', (states, times) => {
    const module = createModule<{ isConnected?: boolean | null }>()
    const woken = vi.fn()
    netInfo(module)(woken)
    for (const state of states) module.emit(state as object)
    expect(woken).toHaveBeenCalledTimes(times)
    expect(module.types).toEqual([undefined])
  })
})

describe('what a module gave when it was subscribed to stops it', () => {
  const listener = () => undefined

  it('a function', () => {
    const subscription = vi.fn()
    stopOf({ removeEventListener: () => expect.fail() }, 'change', listener, () => subscription)()
    expect(subscription).toHaveBeenCalledTimes(1)
  })

  it('an object with remove', () => {
    const subscription = {
      isRemoved: false,
      remove() {
        this.isRemoved = true
      },
    }
    stopOf({ removeEventListener: () => expect.fail() }, 'change', listener, () => subscription)()
    expect(subscription.isRemoved).toBe(true)
  })

  it.each([
    ['change', ['change', listener]],
    [undefined, [listener]],
  ])('the module’s own removeEventListener, of type %s', (type, expected) => {
    const module = {
      removed: [] as unknown[],
      removeEventListener(...given: unknown[]) {
        this.removed.push(...given)
      },
    }
    stopOf(module, type, listener, () => undefined)()
    expect(module.removed).toEqual(expected)
  })

  it.each([
    [
      'a module that can not listen',
      {},
      () => {
        throw new Error('no native module')
      },
    ],
    ['a module that can not stop', {}, () => undefined],
    [
      'a module that fails to',
      {},
      () => () => {
        throw new Error('gone')
      },
    ],
    ['null', { removeEventListener: 7 }, () => null],
  ] as [string, object, () => unknown][])('nothing is needed of %s', (_what, module, subscribe) => {
    expect(stopOf(module, 'change', listener, subscribe)()).toBeUndefined()
  })

  it('a module that could not be subscribed to is not asked to stop', () => {
    const removeEventListener = vi.fn()
    stopOf({ removeEventListener }, 'change', listener, () => {
      throw new Error('no native module')
    })()
    expect(removeEventListener).not.toHaveBeenCalled()
  })
})
