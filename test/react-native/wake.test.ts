import { expect, it, vi } from 'vitest'
import { memoryStorage } from '../../src/index.ts'
import { appState, netInfo } from '../../src/react-native.ts'
import { createApp, url } from './app.ts'

function emitter<Value>() {
  const listeners = new Set<(value: Value) => void>()
  const emit = (value: Value) => {
    for (const listener of [...listeners]) listener(value)
  }
  return { listeners, emit }
}

function fakeAppState(currentState = 'active') {
  const { listeners, emit } = emitter<string>()
  const addEventListener = (_type: 'change', listener: (state: string) => void) => {
    listeners.add(listener)
    return { remove: () => listeners.delete(listener) }
  }
  return { currentState, addEventListener, emit, listeners }
}

function fakeNetInfo() {
  const { listeners, emit } = emitter<{ isConnected: boolean | null; isInternetReachable?: boolean | null }>()
  return {
    addEventListener(listener: Parameters<typeof listeners.add>[0]) {
      listeners.add(listener)
      listener({ isConnected: null })
      return () => listeners.delete(listener)
    },
    emit,
    listeners,
  }
}

it('the app wakes when it is active after the background, and not after Face ID', () => {
  const AppState = fakeAppState()
  const woken = vi.fn()
  const stop = appState(AppState)(woken)
  for (const state of ['inactive', 'active']) AppState.emit(state)
  expect(woken).not.toHaveBeenCalled()
  for (const state of ['inactive', 'background', 'inactive', 'active', 'active']) AppState.emit(state)
  expect(woken).toHaveBeenCalledTimes(1)
  stop()
  expect(AppState.listeners.size).toBe(0)
})

it('an app that a push started wakes when it is opened', () => {
  const AppState = fakeAppState('background')
  const woken = vi.fn()
  appState(AppState)(woken)
  AppState.emit('active')
  expect(woken).toHaveBeenCalledTimes(1)
})

it('the network wakes when it is back, and not at every detail of it', () => {
  const NetInfo = fakeNetInfo()
  const woken = vi.fn()
  const stop = netInfo(NetInfo)(woken)
  NetInfo.emit({ isConnected: true, isInternetReachable: null })
  NetInfo.emit({ isConnected: true, isInternetReachable: true })
  expect(woken).not.toHaveBeenCalled()
  NetInfo.emit({ isConnected: true, isInternetReachable: false })
  NetInfo.emit({ isConnected: null })
  expect(woken).not.toHaveBeenCalled()
  NetInfo.emit({ isConnected: true, isInternetReachable: true })
  NetInfo.emit({ isConnected: true, isInternetReachable: true })
  expect(woken).toHaveBeenCalledTimes(1)
  stop()
  expect(NetInfo.listeners.size).toBe(0)
})

it('stops by removeEventListener where the module is older, and survives a module that throws', () => {
  const listeners = new Set<unknown>()
  const older = {
    addEventListener: (_type: 'change', listener: unknown) => void listeners.add(listener),
    removeEventListener: (_type: 'change', listener: unknown) => void listeners.delete(listener),
  }
  const stop = appState(older)(() => undefined)
  expect(listeners.size).toBe(1)
  stop()
  expect(listeners.size).toBe(0)
  const broken = {
    addEventListener() {
      throw new Error('no native module')
    },
  }
  appState(broken)(() => undefined)()
  netInfo(broken)(() => undefined)()
})

it('after a tunnel in the middle of a renewal the back-off ends with the network, and the next call works', async () => {
  const NetInfo = fakeNetInfo()
  const AppState = fakeAppState()
  const storage = memoryStorage()
  const app = createApp(() => storage, { wake: [appState(AppState), netInfo(NetInfo)] })
  const session = app.start()
  await session.signIn('user')
  app.server.isDown = true
  NetInfo.emit({ isConnected: false })
  await expect(session.renew()).rejects.toMatchObject({ code: 'unreachable' })
  const tried = app.server.renewals
  await expect(session.renew()).rejects.toMatchObject({ code: 'unreachable' })
  expect(app.server.renewals).toBe(tried) // backing off
  app.server.isDown = false
  NetInfo.emit({ isConnected: true, isInternetReachable: true })
  expect(await session.renew()).toEqual({ how: 'renewed' })
  expect((await session.fetch(url)).status).toBe(200)
  session.dispose()
  expect(NetInfo.listeners.size + AppState.listeners.size).toBe(0)
})
