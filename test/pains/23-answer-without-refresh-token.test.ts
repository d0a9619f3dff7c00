import { describe, expect, it } from 'vitest'
import { createSession, memoryStorage } from '../../src/index.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

const old = secret('old-refresh')
const answers: [what: string, refresh_token: string | null | undefined, next: string][] = [
  ['no refresh token', undefined, old],
  ['null', null, old],
  ['an empty one', '', old],
  ['the same', old, old],
  ['a new one', secret('new-refresh'), secret('new-refresh')],
]

describe('pain 23: a renewal', () => {
  it.each(answers)(
    'that brings %s keeps the session renewable, also after a restart',
    async (_what, refresh_token, next) => {
      const clock = createClock()
      const storage = memoryStorage()
      const spent: (string | undefined)[] = []
      const create = () =>
        createSession({
          resources: 'https://api.example.com',
          storage,
          clock,
          fetch: async () => new Response('ok'),
          grant: async tokens => {
            spent.push(tokens.refreshToken)
            return { access_token: secret(`access-${spent.length}`), expires_in: '60', refresh_token }
          },
        })
      const session = create()
      await session.adopt({ access_token: secret('a'), refresh_token: old, expires_in: 60, scope: 'one two' })
      clock.advance(61_000)
      await session.fetch('https://api.example.com/')
      expect(session.state).toMatchObject({ scope: 'one two', expiresAtMs: clock.now() + 60_000 })
      session.dispose()
      clock.advance(61_000)
      await create().fetch('https://api.example.com/')
      expect(spent).toEqual([old, next])
    },
  )
})
