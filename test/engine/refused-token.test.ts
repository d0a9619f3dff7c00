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

it('a request whose renewal, begun behind it, meets the end of its sign-in in the same turn is not sent', async () => {
  const clock = createClock()
  const items = new Map<string, string>()
  const sent: unknown[] = []
  const session = createSession({
    resources: api,
    name: 'test',
    clock,
    storage: {
      getItem: key => items.get(key),
      setItem: (key, value) => void items.set(key, value),
      removeItem: key => void items.delete(key),
    },
    lock: { request: (_name, _options, callback) => callback() },
    grant: async () => ({ access_token: secret('new') }),
    async fetch(_input, init) {
      sent.push(init)
      return new Response()
    },
  })
  await session.adopt({ access_token: secret('old'), refresh_token: secret('r'), expires_in: 300 })
  const { id } = JSON.parse(items.get('latchkey:test') ?? '')
  items.set('latchkey:test', JSON.stringify({ v: 1, id, generation: 9, signedOut: true }))
  clock.advance(270_000)
  await expect(session.fetch(api)).rejects.toMatchObject({ code: 'signed_out' })
  expect(sent).toEqual([])
})
