import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { secret } from '../support/no-leaks.ts'
import { adminKey, basic, bearer, errorOf, startServer, testClock, tokensOf } from './server-support.ts'

test('either token of a session revokes all of it, and a second time is no error (RFC 7009)', async () => {
  const server = await startServer()
  for (const name of ['refresh_token', 'access_token'] as const) {
    const tokens = await server.signIn()
    const revoke = () => server.form('/revoke', { client_id: 'demo', token: tokens[name], token_type_hint: 'nonsense' })
    expect((await revoke()).status).toBe(200)
    expect((await server.get('/collect', bearer(tokens.access_token))).status).toBe(401)
    expect((await server.refresh(tokens.refresh_token)).status).toBe(400)
    expect((await revoke()).status).toBe(200)
  }
  expect((await server.form('/revoke', { client_id: 'demo', token: secret('unknown') })).status).toBe(200)
  expect(server.stats().reuses).toBe(0)
})

test('a client revokes no token of another', async () => {
  const server = await startServer()
  const tokens = await server.signIn()
  const { client_id, client_secret } = await server.createClient()
  for (const token of [tokens.refresh_token, tokens.access_token]) {
    const answer = await server.form('/revoke', { token }, basic(client_id, client_secret))
    expect(await errorOf(answer)).toEqual([400, 'unauthorized_client'])
  }
  expect((await server.get('/collect', bearer(tokens.access_token))).status).toBe(200)
})

test('introspection tells what a token is worth, and of a dead one nothing (RFC 7662)', async () => {
  const clock = testClock()
  const server = await startServer({ clock })
  const { client_id, client_secret } = await server.createClient()
  const introspect = async (token: string) =>
    (await server.form('/introspect', { token }, basic(client_id, client_secret))).json()
  const tokens = await server.signIn()
  const session = { active: true, sub: 'alice', username: 'alice', client_id: 'demo', scope: 'collect activity' }
  const iat = clock() / 1000
  expect(await introspect(tokens.access_token)).toMatchObject({ ...session, token_type: 'Bearer', iat, exp: iat + 300 })
  expect(await introspect(tokens.refresh_token)).toMatchObject({ ...session, iat, exp: iat + 86_400 })

  const next = await tokensOf(await server.refresh(tokens.refresh_token))
  for (const token of [tokens.refresh_token, secret('unknown')])
    expect(await introspect(token)).toEqual({ active: false })
  clock.advance(300_000)
  expect(await introspect(next.access_token)).toEqual({ active: false })
  await server.form('/revoke', { client_id: 'demo', token: next.refresh_token })
  expect(await introspect(next.refresh_token)).toEqual({ active: false })
})

test('introspection takes nobody without a secret', async () => {
  const server = await startServer()
  const { access_token } = await server.signIn()
  for (const fields of [{}, { client_id: 'demo' }]) {
    const answer = await server.form('/introspect', { token: access_token, ...fields })
    expect(await errorOf(answer)).toEqual([401, 'invalid_client'])
  }
})

test('everything survives a restart: sessions, keys, items, activity, and that a token was spent', async () => {
  const database = join(temporaryFolder(), 'demo.sqlite')
  const before = await startServer({ database })
  const port = Number(new URL(before.origin).port)
  const first = await before.signIn()
  const second = await tokensOf(await before.refresh(first.refresh_token))
  const { client_id, client_secret } = await before.createClient()
  const key = await before.post(`/clients/${client_id}/keys`, { headers: { 'x-api-key': adminKey } })
  const { api_key } = (await key.json()) as { api_key: string }
  await before.json('/collect', { item: 1 }, bearer(second.access_token))
  await before.close()

  const after = await startServer({ database, port })
  expect(after.origin).toBe(before.origin)
  await after.get('/').catch(() => {}) // finds out that fetch's old connection is gone
  const items = await (await after.get('/collect', bearer(second.access_token))).json()
  expect(items).toMatchObject({ owner: 'alice', items: [{ item: { item: 1 } }] })
  expect((await after.get('/collect', { 'x-api-key': api_key })).status).toBe(200)
  const fields = { grant_type: 'client_credentials' }
  expect((await after.form('/token', fields, basic(client_id, client_secret))).status).toBe(200)
  const activity = await (await after.get('/activity', bearer(second.access_token))).json()
  expect(activity).toMatchObject({ entries: [{ kind: 'renewal' }, { kind: 'sign-in' }] })

  expect((await after.refresh(first.refresh_token)).status).toBe(400)
  expect((await after.refresh(second.refresh_token)).status).toBe(400)
  expect(after.stats().reuses).toBe(1)
})

test('no password, secret, key or token stands in the database', async () => {
  const folder = temporaryFolder()
  const server = await startServer({ database: join(folder, 'demo.sqlite') })
  const { refresh_token, access_token } = await server.signIn()
  const { client_id, client_secret } = await server.createClient()
  const key = await server.post(`/clients/${client_id}/keys`, { headers: { 'x-api-key': adminKey } })
  const { api_key } = (await key.json()) as { api_key: string }
  await server.close()

  const stored = readFileSync(join(folder, 'demo.sqlite'), 'latin1')
  expect(stored.includes(client_id)).toBe(true)
  for (const value of [refresh_token, access_token, client_secret, api_key, adminKey, server.demoUser!.password]) {
    expect(stored.includes(value)).toBe(false)
  }
})

test('a port that is taken falls back to a free one', async () => {
  const first = await startServer()
  const second = await startServer({ port: Number(new URL(first.origin).port) })
  expect(second.origin).not.toBe(first.origin)
  expect((await second.get('/.well-known/jwks.json')).status).toBe(200)
})

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'demo-server-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}
