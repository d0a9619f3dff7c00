import { expect, test } from 'vitest'
import { secret } from '../support/no-leaks.ts'
import { adminKey, basic, bearer, errorOf, startServer, type TestServer, tokensOf } from './server-support.ts'

const admin = { 'x-api-key': adminKey }

async function issueKey(server: TestServer, clientId: string) {
  const answer = await server.post(`/clients/${clientId}/keys`, { headers: admin })
  expect(answer.status).toBe(201)
  return (await answer.json()) as { key_id: string; api_key: string }
}

test('only the administrator creates clients and keys', async () => {
  const server = await startServer()
  const body = { name: 'mine', scopes: ['collect'] }
  for (const headers of [{}, { 'x-api-key': secret('wrong') }, { 'x-api-key': '' }]) {
    expect(await errorOf(await server.json('/clients', body, headers))).toEqual([401, 'invalid_api_key'])
    expect(await errorOf(await server.post('/clients/demo/keys', { headers }))).toEqual([401, 'invalid_api_key'])
    const { status } = await fetch(`${server.origin}/clients/demo/keys/x`, { method: 'DELETE', headers })
    expect(status).toBe(401)
  }
})

test('a client is shown as it was stored: each scope once, addresses in their normal form', async () => {
  const server = await startServer()
  const addresses = ['127.0.0.1', '::ffff:10.1.2.3', '2001:DB8:0:0::1', '10.0.0.0/8']
  const answer = await server.json('/clients', { name: 'a', scopes: ['collect', 'collect'], addresses }, admin)
  expect(answer.status).toBe(201)
  const { client_id, client_secret, ...shown } = (await answer.json()) as Record<string, unknown>
  expect([typeof client_id, typeof client_secret]).toEqual(['string', 'string'])
  expect(shown).toEqual({
    name: 'a',
    scopes: ['collect'],
    addresses: ['127.0.0.1', '10.1.2.3', '2001:db8::1', '10.0.0.0/8'],
    public: false,
  })
})

test('API keys rotate without a gap: both work until the old one is revoked', async () => {
  const server = await startServer()
  const { client_id } = await server.createClient()
  const [old, next] = [await issueKey(server, client_id), await issueKey(server, client_id)]
  const statuses = () =>
    Promise.all([old, next].map(async ({ api_key }) => (await server.get('/collect', { 'x-api-key': api_key })).status))
  expect(await statuses()).toEqual([200, 200])

  const revoke = () =>
    fetch(`${server.origin}/clients/${client_id}/keys/${old.key_id}`, { method: 'DELETE', headers: admin })
  expect((await revoke()).status).toBe(204)
  expect(await statuses()).toEqual([401, 200])
  expect((await revoke()).status).toBe(404)
})

test('a key is revoked under its own client only', async () => {
  const server = await startServer()
  const [mine, other] = [await server.createClient(), await server.createClient()]
  const { key_id, api_key } = await issueKey(server, mine.client_id)
  const path = `${server.origin}/clients/${other.client_id}/keys/${key_id}`
  expect((await fetch(path, { method: 'DELETE', headers: admin })).status).toBe(404)
  expect((await server.get('/collect', { 'x-api-key': api_key })).status).toBe(200)
  expect(await errorOf(await server.post('/clients/nobody/keys', { headers: admin }))).toEqual([404, 'not_found'])
})

test('a call from an address that the client may not use is refused, by whatever it authenticates', async () => {
  const server = await startServer({ trustProxy: true })
  const { client_id, client_secret } = await server.createClient({ addresses: ['192.0.2.0/24', '2001:db8::1'] })
  const { api_key } = await issueKey(server, client_id)
  const fields = { grant_type: 'client_credentials' }
  const header = basic(client_id, client_secret)
  const from = (address: string) => ({ 'x-forwarded-for': address })
  const tokens = await tokensOf(await server.form('/token', fields, { ...header, ...from('192.0.2.7') }))

  const calls = (address: string) =>
    Promise.all([
      server.form('/token', fields, { ...header, ...from(address) }),
      server.get('/collect', { ...bearer(tokens.access_token), ...from(address) }),
      server.get('/collect', { 'x-api-key': api_key, ...from(address) }),
    ])
  for (const address of ['192.0.2.255', '2001:0db8::0:1', '::ffff:192.0.2.9']) {
    expect(
      (await calls(address)).map(answer => answer.status),
      address,
    ).toEqual([200, 200, 200])
  }
  for (const address of ['192.0.3.1', '2001:db8::2', '127.0.0.1']) {
    for (const answer of await calls(address)) expect(await errorOf(answer), address).toEqual([403, 'access_denied'])
  }
})

test('a refresh from a wrong address costs no refresh token', async () => {
  const server = await startServer({ trustProxy: true })
  const { client_id } = await server.createClient({ public: true, addresses: ['192.0.2.7'] })
  const home = { 'x-forwarded-for': '192.0.2.7' }
  const { refresh_token } = await server.signIn({ client_id }, home)
  expect((await server.refresh(refresh_token, { client_id })).status).toBe(403)
  expect((await server.refresh(refresh_token, { client_id }, home)).status).toBe(200)
})

test('X-Forwarded-For counts only behind a proxy that is trusted, and of it only what the proxy wrote', async () => {
  const forged = { 'x-forwarded-for': '192.0.2.7' }
  const alone = await startServer()
  const here = await alone.createClient({ addresses: ['127.0.0.1'] })
  const fields = { grant_type: 'client_credentials' }
  const header = basic(here.client_id, here.client_secret)
  expect((await alone.form('/token', fields, { ...header, ...forged })).status).toBe(200)

  const proxied = await startServer({ trustProxy: true })
  const there = await proxied.createClient({ addresses: ['192.0.2.7'] })
  const answer = await proxied.form('/token', fields, {
    ...basic(there.client_id, there.client_secret),
    'x-forwarded-for': '192.0.2.7, 198.51.100.1',
  })
  expect(answer.status).toBe(403)
})

test('a key or token of a client without the scope is 403, and who sends both is told to choose', async () => {
  const server = await startServer()
  const { client_id } = await server.createClient({ scopes: ['activity'] })
  const { api_key } = await issueKey(server, client_id)
  const byKey = { 'x-api-key': api_key }
  expect(await errorOf(await server.get('/collect', byKey))).toEqual([403, 'insufficient_scope'])

  const { access_token } = await server.signIn()
  const both = { ...byKey, ...bearer(access_token) }
  expect(await errorOf(await server.get('/collect', both))).toEqual([400, 'invalid_request'])
})
