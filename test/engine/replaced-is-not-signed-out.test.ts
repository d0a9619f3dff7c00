import { expect, it } from 'vitest'
import { createSession, refused } from '../../src/index.ts'
import { api, createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

it('a sign-in that could not be saved and was refused leaves the one that it replaced to those who have it', async () => {
  const clock = createClock()
  const items = new Map<string, string>()
  let isFull = false
  let wake: () => void = () => undefined
  const make = (mayFail: boolean) =>
    createSession({
      resources: api,
      name: 'test',
      clock,
      storage: {
        getItem: async key => items.get(key),
        async setItem(key, value) {
          if (mayFail && isFull) throw new Error('The disk is full.')
          items.set(key, value)
        },
        removeItem: async key => void items.delete(key),
      },
      wake: listener => {
        if (mayFail) wake = listener
        return () => undefined
      },
      grant: async () => {
        throw refused()
      },
      fetch: async () => new Response(),
    })
  const [first, second] = [make(false), make(true)]
  await first.adopt({ access_token: secret('first'), refresh_token: secret('r1'), expires_in: 3600 })
  await second.ready
  isFull = true
  await second.adopt({ access_token: secret('second'), refresh_token: secret('r2'), expires_in: 60 })
  clock.advance(61_000)
  await expect(second.getAccessToken()).rejects.toMatchObject({ code: 'signed_out' })
  expect(second.state).toEqual({ status: 'signed-out', reason: 'refused' })
  isFull = false
  wake()
  await new Promise(resolve => setTimeout(resolve, 20))
  expect(items.get('latchkey:test')).not.toContain('signedOut')
  expect(items.get('latchkey:test')).toContain(secret('r1'))
  expect((await first.fetch(api)).status).toBe(200)
})
