import { expect, it } from 'vitest'
import { createSession, type SessionError } from '../../src/index.ts'
import { api, createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

/** Renews three times in vain; what the third rejects with, and how often the server was asked. */
async function renewInVain(status: number) {
  const clock = createClock()
  let calls = 0
  const session = createSession({
    resources: api,
    clock,
    fetch: async () => new Response(),
    grant: async () => {
      calls++
      throw new Response(null, { status })
    },
  })
  await session.adopt({ access_token: secret('a'), refresh_token: secret('r'), expires_in: 60 })
  let error: SessionError | undefined
  for (let renewal = 1; renewal <= 3; renewal++) {
    clock.advance(400_000)
    error = await session.renew().catch(reason => reason)
  }
  expect(error).toMatchObject({ code: 'unreachable', retryable: true })
  return { signInRequired: error?.signInRequired, calls }
}

it('three empty 400s in a row may mean a dead refresh token: the app may ask its user', async () => {
  expect(await renewInVain(400)).toEqual({ signInRequired: true, calls: 3 })
})

it.each([408, 425, 429])('three times %d says nothing about it, and is not asked again at once', async status => {
  expect(await renewInVain(status)).toEqual({ signInRequired: false, calls: 3 })
})

it('a client whose sign-in is rate-limited is not told to be wrong', async () => {
  const session = createSession({
    resources: api,
    fetch: async () => new Response(),
    grant: {
      headless: true,
      async signIn() {
        throw new Response(null, { status: 429 })
      },
    },
  })
  await expect(session.fetch(api)).rejects.toMatchObject({ code: 'unreachable', retryable: true })
})
