import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession, webStorage } from '../../src/index.ts'
import { secret } from '../support/no-leaks.ts'
import { describeStorage, type StorageSubject } from './storage-suite.ts'

/** What another tab's write looks like from here: the item changes, then the event comes. */
const changeIn = (area: Storage) => async (key: string, value: string | undefined) => {
  if (value === undefined) area.removeItem(key)
  else area.setItem(key, value)
  window.dispatchEvent(Object.assign(new Event('storage'), { key, storageArea: area }))
  await Promise.resolve()
}

function subject(kind: 'session' | 'local' | Storage): StorageSubject {
  const area = kind === 'session' ? sessionStorage : localStorage
  return { storage: webStorage(kind), changeElsewhere: changeIn(area) }
}

beforeEach(() => {
  localStorage.clear()
  sessionStorage.clear()
})
afterEach(() => vi.unstubAllGlobals())

describeStorage('webStorage("session")', () => subject('session'))
describeStorage('webStorage("local")', () => subject('local'))
describeStorage('webStorage(localStorage)', () => subject(localStorage))

const resources = 'https://api.example.com'
const grant = () => Promise.reject(new Error('not asked'))
const response = () => ({ access_token: secret('access'), refresh_token: secret('refresh'), expires_in: 60 })

describe('Web Storage', () => {
  it('is a tab’s where it is sessionStorage, and shared where it is localStorage', () => {
    expect(webStorage('session').scope).toBe('tab')
    expect(webStorage(sessionStorage).scope).toBe('tab')
    expect(webStorage('local').scope).toBe('shared')
    expect(webStorage(localStorage).scope).toBe('shared')
  })

  it.each([
    ['localStorage', () => localStorage],
    ['a function that gives localStorage', () => () => localStorage],
    ['webStorage("local")', () => webStorage('local')],
  ])('keeps a session over a reload when a session is given %s', async (_what, make) => {
    const first = createSession({ resources, grant, storage: make() })
    await first.adopt(response())
    first.dispose()
    const second = createSession({ resources, grant, storage: make() })
    expect(second.state).toMatchObject({ status: 'signed-in' })
    expect(await second.getAccessToken()).toBe(secret('access'))
    second.dispose()
  })

  it('is never read for anything but the record: an item called lock or scope changes nothing', async () => {
    for (const name of ['lock', 'scope', 'watch', 'readOnly', 'replaceItem']) localStorage.setItem(name, 'true')
    const session = createSession({ resources, grant, storage: localStorage })
    await session.adopt(response())
    expect(localStorage.getItem('latchkey:api.example.com')).toContain(secret('refresh'))
    session.dispose()
  })

  it('tells of a clear of the whole storage', () => {
    const listener = vi.fn()
    const off = webStorage('local').watch?.('latchkey:a', listener)
    window.dispatchEvent(Object.assign(new Event('storage'), { key: null, storageArea: localStorage }))
    expect(listener).toHaveBeenCalledTimes(1)
    off?.()
  })

  it.each([
    ['blocked', () => vi.spyOn(globalThis, 'localStorage', 'get').mockImplementation(denied)],
    ['missing', () => vi.stubGlobal('localStorage', undefined)],
    ['there outside of a document', () => vi.stubGlobal('document', undefined)],
  ])('that is %s is replaced by memory, and the session says degraded', async (_what, breakIt) => {
    const real = localStorage
    breakIt()
    const session = createSession({ resources, grant, storage: webStorage('local') })
    const degraded: string[] = []
    session.on('degraded', ({ what }) => degraded.push(what))
    await session.adopt(response())
    expect(session.state.status).toBe('signed-in')
    expect(degraded).toEqual(['storage'])
    expect(real.length).toBe(0)
    session.dispose()
    vi.restoreAllMocks()
  })
})

function denied(): never {
  throw Object.assign(new Error('The operation is insecure.'), { name: 'SecurityError' })
}
