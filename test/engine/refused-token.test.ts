import { expect, it } from 'vitest'
import { createSession, type TokenResponse } from '../../src/index.ts'
import { api, createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

it('while a token that a server refused is being replaced, nobody sends it any more', async () => {
  const clock = createClock()
  const sent: (string | null)[] = []
  let answer: (response: TokenResponse) => void = () => undefined
  const session = createSession({
    resources: api,
    clock,
    grant: () =>
      new Promise<TokenResponse>(resolve => {
        answer = resolve
      }),
    async fetch(_input, init) {
      const authorization = new Headers(init?.headers).get('authorization')
      sent.push(authorization)
      return new Response(null, { status: authorization === `Bearer ${secret('new')}` ? 200 : 401 })
    },
  })
  await session.adopt({ access_token: secret('old'), refresh_token: secret('r'), expires_in: 300 })
  clock.advance(10_000)
  const first = session.fetch(api)
  await new Promise(resolve => setTimeout(resolve))
  const later = [session.fetch(api), session.fetch(api), session.getAccessToken()]
  await new Promise(resolve => setTimeout(resolve))
  expect(sent).toEqual([`Bearer ${secret('old')}`])
  answer({ access_token: secret('new'), refresh_token: secret('r2'), expires_in: 300 })
  expect((await first).status).toBe(200)
  const [second, third, token] = await Promise.all(later)
  expect([(second as Response).status, (third as Response).status, token]).toEqual([200, 200, secret('new')])
  expect(sent).toHaveLength(4)
})

it('where no other can be had, it is sent again: it may work elsewhere', async () => {
  const clock = createClock()
  const statuses = [401, 200]
  let fail: () => void = () => undefined
  const session = createSession({
    resources: api,
    clock,
    grant: () =>
      new Promise<TokenResponse>((_, reject) => {
        fail = () => reject(new Response(null, { status: 429 }))
      }),
    fetch: async () => new Response(null, { status: statuses.shift() ?? 500 }),
  })
  await session.adopt({ access_token: secret('old'), refresh_token: secret('r'), expires_in: 300 })
  clock.advance(10_000)
  const first = session.fetch(api).catch(error => error.code)
  await new Promise(resolve => setTimeout(resolve))
  const later = session.fetch(api)
  await new Promise(resolve => setTimeout(resolve))
  fail()
  expect(await first).toBe('unreachable')
  expect((await later).status).toBe(200)
})
