import { expect, it } from 'vitest'
import { createSession, type Lock } from '../../src/index.ts'
import { memoryLock } from '../../src/locks/memory.ts'
import { secret } from '../support/no-leaks.ts'

it('what the read after a sign-in finds is told once the lock is free', async () => {
  const items = new Map<string, string>()
  const inner = memoryLock()
  let holders = 0
  const lock: Lock = {
    request: (name, options, callback) =>
      inner.request(name, options, async grip => {
        holders++
        try {
          return await callback(grip)
        } finally {
          holders--
        }
      }),
  }
  const session = createSession({
    resources: 'https://api.example.com',
    name: 'test',
    lock,
    grant: async () => ({ access_token: secret('x') }),
    storage: {
      getItem: async key => items.get(key),
      setItem: async (key, value) => void items.set(key, value),
      removeItem: async key => void items.delete(key),
    },
  })
  const held: [string, number][] = []
  session.on('signed-out', ({ reason }) => held.push([reason, holders]))
  let leave = () => {}
  const busy = new Promise<void>(resolve => {
    leave = resolve
  })
  void inner.request('latchkey:test', {}, () => busy)
  await session.adopt({ access_token: secret('a'), refresh_token: secret('r'), expires_in: 300 })
  // Another context signs out without news, before the look under the lock.
  const { id, generation } = JSON.parse(items.get('latchkey:test') ?? '')
  items.set('latchkey:test', JSON.stringify({ v: 1, id, generation: generation + 1, signedOut: true }))
  leave()
  await new Promise(resolve => setTimeout(resolve, 20))
  expect(held).toEqual([['elsewhere', 0]])
})

it('a sign-in that needs no human is told once the lock is free', async () => {
  const items = new Map<string, string>()
  const inner = memoryLock()
  let holders = 0
  const session = createSession({
    resources: 'https://api.example.com',
    name: 'test',
    lock: {
      request: (name, options, callback) =>
        inner.request(name, options, async grip => {
          holders++
          try {
            return await callback(grip)
          } finally {
            holders--
          }
        }),
    },
    grant: { headless: true, signIn: async () => ({ access_token: secret('x') }) },
    storage: {
      getItem: key => items.get(key),
      setItem: (key, value) => void items.set(key, value),
      removeItem: key => void items.delete(key),
    },
  })
  const held: number[] = []
  session.on('signed-in', () => held.push(holders))
  await session.getAccessToken()
  expect(held).toEqual([0])
})
