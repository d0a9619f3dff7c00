import { expect, test } from 'vitest'
import { bearer, errorOf, startServer, tokensOf } from './server-support.ts'

test('a dropped answer: the rotation is committed, the client hears nothing, and its next try is reuse', async () => {
  const server = await startServer()
  const { refresh_token } = await server.signIn()
  server.faults.dropNextTokenResponse()
  await expect(server.refresh(refresh_token)).rejects.toThrow('fetch failed')
  expect(server.stats()).toMatchObject({ rotations: 1 })
  expect((await server.refresh(refresh_token)).status).toBe(400)
  expect(server.stats()).toMatchObject({ reuses: 1 })
})

test('with a reuse window a client survives a dropped answer', async () => {
  const server = await startServer({ reuseWindowMs: 10_000 })
  const { refresh_token } = await server.signIn()
  server.faults.dropNextTokenResponse()
  await expect(server.refresh(refresh_token)).rejects.toThrow('fetch failed')
  expect((await server.refresh(refresh_token)).status).toBe(200)
})

test('a token call fails as it was told to, once for each time, and spends nothing', async () => {
  const server = await startServer()
  const { refresh_token } = await server.signIn()
  server.faults.failNextToken({ status: 503, retryAfter: 2 })
  server.faults.failNextToken({ status: 429 })
  const first = await server.refresh(refresh_token)
  expect([first.status, first.headers.get('retry-after')]).toEqual([503, '2'])
  const second = await server.json('/token/refresh', { refresh_token })
  expect([second.status, second.headers.get('retry-after')]).toEqual([429, null])
  expect((await server.refresh(refresh_token)).status).toBe(200)
})

test('a late 401: the tokens so far are refused, those of the next renewal work, in the same second', async () => {
  const server = await startServer({ clock: () => 1_900_000_000_000 })
  const { access_token, refresh_token } = await server.signIn()
  server.faults.rejectAccessTokensIssuedUntilNow()
  expect(await errorOf(await server.get('/collect', bearer(access_token)))).toEqual([401, 'invalid_token'])
  const renewed = await tokensOf(await server.refresh(refresh_token))
  expect((await server.get('/collect', bearer(renewed.access_token))).status).toBe(200)
})

test('a delayed call is overtaken by the next one', async () => {
  const server = await startServer()
  const { access_token } = await server.signIn()
  const finished: string[] = []
  const call = (name: string, answer: Promise<unknown>) => answer.catch(() => 0).then(() => finished.push(name))
  // Longer than any machine takes: the end of the server ends them.
  server.faults.delayNextCollect(3_600_000)
  const slowCollect = call('slow collect', server.get('/collect', bearer(access_token)))
  await call('fast token', server.signIn())
  server.faults.delayNextToken(3_600_000)
  const slowToken = call('slow token', server.form('/token', {}))
  await call('fast collect', server.get('/collect', bearer(access_token)))
  expect(finished).toEqual(['fast token', 'fast collect'])
  await server.close()
  await Promise.all([slowCollect, slowToken])
})

test('closing the server does not wait for a delay', async () => {
  const server = await startServer()
  server.faults.delayNextToken(3_600_000)
  const call = server.form('/token', {}).catch(() => 'gone')
  await server.get('/.well-known/jwks.json')
  await server.close()
  expect(await call).toBe('gone')
})
