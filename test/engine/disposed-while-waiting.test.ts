import { expect, it } from 'vitest'
import { createSession, memoryStorage, type TokenResponse } from '../../src/index.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

it.each([
  ['in the middle of the renewal', true],
  ['before it begins', false],
])(
  'a call that waits in a session that is disposed of %s never goes out with the expired token',
  async (_when, isLate) => {
    const clock = createClock()
    const storage = memoryStorage()
    const sent: (string | null)[] = []
    let answer: (response: TokenResponse) => void = () => undefined
    const make = () =>
      createSession({
        resources: 'https://api.example.com',
        storage,
        clock,
        grant: () =>
          new Promise<TokenResponse>(resolve => {
            answer = resolve
          }),
        fetch: async (_input, init) => {
          sent.push(new Headers(init?.headers).get('authorization'))
          return new Response()
        },
      })
    const [first, second] = [make(), make()]
    await first.adopt({ access_token: secret('old'), refresh_token: secret('r'), expires_in: 60 })
    await second.ready
    clock.advance(61_000)
    const calls = Promise.allSettled([
      first.fetch('https://api.example.com/'),
      second.fetch('https://api.example.com/'),
    ])
    if (!isLate) second.dispose()
    await new Promise(resolve => setTimeout(resolve))
    second.dispose()
    answer({ access_token: secret('new'), expires_in: 60 })
    await calls
    expect(sent).not.toContain(`Bearer ${secret('old')}`)
  },
)
