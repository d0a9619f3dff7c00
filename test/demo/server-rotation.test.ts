import { expect, test } from 'vitest'
import { bearer, errorOf, startServer, testClock, tokensOf } from './server-support.ts'

const minute = 60_000

test('each refresh brings a new refresh token, and spends the old one', async () => {
  const server = await startServer()
  const first = await server.signIn()
  const second = await tokensOf(await server.refresh(first.refresh_token))
  expect(second.refresh_token === first.refresh_token).toBe(false)
  expect((await server.refresh(second.refresh_token)).status).toBe(200)
  expect(server.stats()).toMatchObject({ renewals: 2, rotations: 2, reuses: 0 })
})

test('a reused refresh token ends its whole family, access tokens included', async () => {
  const server = await startServer()
  const first = await server.signIn()
  const second = await tokensOf(await server.refresh(first.refresh_token))
  expect((await server.get('/collect', bearer(second.access_token))).status).toBe(200)

  expect(await errorOf(await server.refresh(first.refresh_token))).toEqual([400, 'invalid_grant'])
  expect(await errorOf(await server.refresh(second.refresh_token))).toEqual([400, 'invalid_grant'])
  for (const { access_token } of [first, second]) {
    expect(await errorOf(await server.get('/collect', bearer(access_token)))).toEqual([401, 'invalid_token'])
  }
  expect(server.stats()).toMatchObject({ reuses: 1 })
})

test('a reuse leaves the other sessions of the user alone', async () => {
  const server = await startServer()
  const [stolen, other] = [await server.signIn(), await server.signIn()]
  await server.refresh(stolen.refresh_token)
  await server.refresh(stolen.refresh_token)
  expect((await server.get('/collect', bearer(other.access_token))).status).toBe(200)
  expect((await server.refresh(other.refresh_token)).status).toBe(200)
})

test('of many refreshes of one token at once one wins, and the rest count as reuse that kills its tokens', async () => {
  const server = await startServer()
  const { refresh_token } = await server.signIn()
  const answers = await Promise.all(Array.from({ length: 8 }, () => server.refresh(refresh_token)))
  expect(answers.map(answer => answer.status).sort()).toEqual([200, 400, 400, 400, 400, 400, 400, 400])

  const winner = await tokensOf(answers.find(answer => answer.status === 200)!)
  expect((await server.refresh(winner.refresh_token)).status).toBe(400)
  expect((await server.get('/collect', bearer(winner.access_token))).status).toBe(401)
  expect(server.stats()).toMatchObject({ renewals: 1, reuses: 1 })
})

test('within the reuse window a spent token gets a further successor; after it, the family ends', async () => {
  const clock = testClock()
  const server = await startServer({ clock, reuseWindowMs: 10_000 })
  const { refresh_token } = await server.signIn()
  const answers = await Promise.all(Array.from({ length: 4 }, () => server.refresh(refresh_token)))
  const successors = await Promise.all(answers.map(tokensOf))
  expect(new Set(successors.map(tokens => tokens.refresh_token)).size).toBe(4)
  for (const tokens of successors) expect((await server.refresh(tokens.refresh_token)).status).toBe(200)

  clock.advance(9_999)
  const late = await tokensOf(await server.refresh(refresh_token))
  clock.advance(1)
  expect((await server.refresh(refresh_token)).status).toBe(400)
  expect((await server.refresh(late.refresh_token)).status).toBe(400)
})

test('using a spent token again does not make its window longer', async () => {
  const clock = testClock()
  const server = await startServer({ clock, reuseWindowMs: 10_000 })
  const { refresh_token } = await server.signIn()
  for (const status of [200, 200, 400]) {
    expect((await server.refresh(refresh_token)).status).toBe(status)
    clock.advance(6_000)
  }
})

test('where rotation waits for the expiry, a refresh token stays until the last quarter of its life', async () => {
  const clock = testClock()
  const server = await startServer({ clock, rotation: 'near-expiry', refreshTokenTtlMs: 40 * minute })
  const { refresh_token } = await server.signIn()
  clock.advance(29 * minute)
  for (const _ of [1, 2])
    expect(await tokensOf(await server.refresh(refresh_token))).not.toHaveProperty('refresh_token')

  clock.advance(minute)
  const rotated = await tokensOf(await server.refresh(refresh_token))
  expect(rotated.refresh_token === refresh_token).toBe(false)
  expect(server.stats()).toMatchObject({ renewals: 3, rotations: 1 })

  expect((await server.refresh(refresh_token)).status).toBe(400)
  expect((await server.refresh(rotated.refresh_token)).status).toBe(400)
})

test('tokens live as long as the options say', async () => {
  const clock = testClock()
  const server = await startServer({ clock, accessTokenTtlMs: 2_000, refreshTokenTtlMs: 5_000 })
  const { access_token, refresh_token, expires_in } = await server.signIn()
  expect(expires_in).toBe(2)
  clock.advance(1_999)
  expect((await server.get('/collect', bearer(access_token))).status).toBe(200)
  clock.advance(1)
  expect(await errorOf(await server.get('/collect', bearer(access_token)))).toEqual([401, 'invalid_token'])

  clock.advance(2_999)
  const renewed = await tokensOf(await server.refresh(refresh_token))
  clock.advance(5_000)
  expect(await errorOf(await server.refresh(renewed.refresh_token))).toEqual([400, 'invalid_grant'])
  expect(server.stats().reuses).toBe(0)
})

test('no access token dies before its expires_in, wherever in a second it was made', async () => {
  const clock = testClock()
  const server = await startServer({ clock, accessTokenTtlMs: 2_000 })
  clock.advance(700)
  const { access_token } = await server.signIn()
  clock.advance(1_999)
  expect((await server.get('/collect', bearer(access_token))).status).toBe(200)
})
