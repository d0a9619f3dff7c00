import { expect, it } from 'vitest'
import { createSession } from '../../src/index.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

const url = 'https://api.example.com/items'
const yearMs = 365 * 24 * 3_600_000

it.each([
  ['an opaque token', secret('opaque')],
  ['a token that only looks like a JWT', `${secret('x')}.%%%.z`],
  ['a JWT without a life span', `e30.${Buffer.from('{"sub":"alice"}').toString('base64url')}.${secret('signature')}`],
])(
  'pain 54: %s of unknown lifetime is used until the server refuses it, and renewed then',
  async (_what, access_token) => {
    const clock = createClock()
    let renewals = 0
    let good = access_token
    const session = createSession({
      resources: 'https://api.example.com',
      clock,
      grant: async () => {
        renewals++
        good = secret(`renewed-${renewals}`)
        return { access_token: good }
      },
      fetch: async (_input, init) =>
        new Response(null, {
          status: new Headers(init?.headers).get('authorization') === `Bearer ${good}` ? 200 : 401,
        }),
    })
    await session.adopt({ access_token, refresh_token: secret('r') })
    expect(session.state).toMatchObject({ status: 'signed-in' })
    expect(session.state).not.toHaveProperty('expiresAtMs')
    for (let year = 0; year < 3; year++) {
      clock.advance(yearMs)
      expect((await session.fetch(url)).status).toBe(200)
      expect(await session.getAccessToken({ minValidityMs: 60_000 })).toBe(access_token)
    }
    expect(renewals).toBe(0)
    good = 'something else'
    expect((await session.fetch(url)).status).toBe(200)
    expect(renewals).toBe(1)
  },
)
