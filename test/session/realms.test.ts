import { afterEach, expect, it, vi } from 'vitest'
import { createSession } from '../../src/index.ts'
import { secret } from '../support/no-leaks.ts'

afterEach(() => vi.unstubAllGlobals())

/** What a session on a storage that others may share says is missing. */
async function missing(navigator: object): Promise<string[]> {
  vi.stubGlobal('navigator', navigator)
  vi.stubGlobal('BroadcastChannel', undefined)
  const items = new Map<string, string>()
  const session = createSession({
    resources: 'https://api.example.com',
    grant: async () => ({ access_token: secret('a') }),
    storage: {
      getItem: async (key: string) => items.get(key) ?? null,
      setItem: async (key: string, value: string) => void items.set(key, value),
      removeItem: async (key: string) => void items.delete(key),
    },
  })
  const told: string[] = []
  session.on('degraded', ({ what }) => told.push(what))
  await session.ready
  session.dispose()
  return told.sort()
}

it('a browser without Web Locks and BroadcastChannel is told to be degraded', async () => {
  expect(await missing({})).toEqual(['channel', 'lock'])
})

it('a React Native app runs in one realm: neither is missed', async () => {
  expect(await missing({ product: 'ReactNative' })).toEqual([])
})
