import { expect, it } from 'vitest'
import { createSession, memoryStorage, type TokenStorage } from '../../src/index.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

it('a token that dies between its check and its send is renewed after the 401', async () => {
  const clock = createClock()
  let good = 'first'
  const stored = memoryStorage()
  // The first call waits for a read, thus for a token; then the process is busy for as long as that lives.
  const storage: TokenStorage = {
    getItem: async key => stored.getItem(key),
    setItem: async (key, value) => void stored.setItem(key, value),
    removeItem: async key => void stored.removeItem(key),
  }
  const options = {
    resources: 'https://api.example.com',
    storage,
    clock,
    renewal: { minIntervalMs: 0 },
    grant: async () => {
      good = 'second'
      return { access_token: secret('second'), refresh_token: secret('r'), expires_in: 30 }
    },
    fetch: (async (_url: unknown, init: RequestInit) => {
      const sent = new Headers(init.headers).get('authorization')
      if (good === 'first') {
        clock.advance(30_000)
        good = 'none'
      }
      return new Response(null, { status: sent === `Bearer ${secret(good)}` ? 200 : 401 })
    }) as typeof fetch,
  }
  const before = createSession(options)
  await before.adopt({ access_token: secret('first'), refresh_token: secret('r'), expires_in: 30 })
  before.dispose()
  clock.advance(1000)
  const session = createSession(options)
  const calls = Array.from({ length: 3 }, () => session.fetch('https://api.example.com/'))
  expect((await Promise.all(calls)).map(({ status }) => status)).toEqual([200, 200, 200])
})
