import { decodeProtectedHeader } from 'jose'
import { expect, test } from 'vitest'
import { secret } from '../support/no-leaks.ts'
import { basic, bearer, errorOf, startServer, tokensOf } from './server-support.ts'

test('a user signs in by password, and the access token opens the resource', async () => {
  const server = await startServer()
  const { access_token, ...rest } = await server.signIn()
  expect(rest).toMatchObject({ token_type: 'Bearer', expires_in: 300, scope: 'collect activity' })
  expect((await server.get('/collect', bearer(access_token))).status).toBe(200)
  expect(decodeProtectedHeader(access_token)).toMatchObject({ alg: 'ES256', typ: 'at+jwt' })
  expect(server.stats()).toMatchObject({ signIns: 1, collects: 1, tokenCalls: 1 })
})

test('no cache may keep the answers of the token endpoint, errors included', async () => {
  const server = await startServer()
  const answers = [await server.form('/token', {}), await server.form('/token', { grant_type: 'password' })]
  for (const answer of answers) expect(answer.headers.get('cache-control')).toBe('no-store')
})

test('a wrong password and an unknown user get the same answer', async () => {
  const server = await startServer()
  const attempt = async (username: string) => {
    const fields = { grant_type: 'password', client_id: 'demo', username, password: secret('wrong') }
    const answer = await server.form('/token', fields)
    return { status: answer.status, body: await answer.json() }
  }
  expect(await attempt('alice')).toEqual(await attempt('nobody'))
  expect(await attempt('alice')).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
})

test('a client with a secret authenticates by header or by body, and gets no refresh token', async () => {
  const server = await startServer()
  const { client_id, client_secret } = await server.createClient()
  const fields = { grant_type: 'client_credentials' }
  for (const answer of [
    await server.form('/token', fields, basic(client_id, client_secret)),
    await server.form('/token', { ...fields, client_id, client_secret }),
  ]) {
    expect(Object.keys(await tokensOf(answer))).not.toContain('refresh_token')
  }
})

test('a wrong client secret is 401 invalid_client, with a challenge to those who used the header', async () => {
  const server = await startServer()
  const { client_id } = await server.createClient()
  const fields = { grant_type: 'client_credentials' }

  const byHeader = await server.form('/token', fields, basic(client_id, secret('wrong')))
  expect(byHeader.headers.get('www-authenticate')).toMatch(/^Basic /)
  expect(await errorOf(byHeader)).toEqual([401, 'invalid_client'])

  const byBody = await server.form('/token', { ...fields, client_id, client_secret: secret('wrong') })
  expect(byBody.headers.get('www-authenticate')).toBeNull()
  expect(await errorOf(byBody)).toEqual([401, 'invalid_client'])
})

test('a client never authenticates in two ways, or as two', async () => {
  const server = await startServer()
  const { client_id, client_secret } = await server.createClient()
  const fields = { grant_type: 'client_credentials' }
  const header = basic(client_id, client_secret)
  expect(await errorOf(await server.form('/token', { ...fields, client_secret }, header))).toEqual([
    400,
    'invalid_request',
  ])
  expect(await errorOf(await server.form('/token', { ...fields, client_id: 'demo' }, header))).toEqual([
    400,
    'invalid_request',
  ])
})

test('a public client has no credentials to sign in with', async () => {
  const server = await startServer()
  const answer = await server.form('/token', { grant_type: 'client_credentials', client_id: 'demo' })
  expect(await errorOf(answer)).toEqual([400, 'unauthorized_client'])
})

test('a refresh may narrow the scope; a scope that is too wide costs no refresh token', async () => {
  const server = await startServer()
  const { refresh_token } = await server.signIn()
  const tooWide = await server.refresh(refresh_token, { scope: 'collect everything' })
  expect(await errorOf(tooWide)).toEqual([400, 'invalid_scope'])

  const narrowed = await tokensOf(await server.refresh(refresh_token, { scope: 'collect' }))
  expect(narrowed.scope).toBe('collect')
  expect(await errorOf(await server.get('/activity', bearer(narrowed.access_token)))).toEqual([
    403,
    'insufficient_scope',
  ])

  const wideAgain = await tokensOf(await server.refresh(narrowed.refresh_token))
  expect(wideAgain.scope).toBe('collect activity')
})

test('a refresh token is worth nothing to another client, and survives its attempt', async () => {
  const server = await startServer()
  const { refresh_token } = await server.signIn()
  const { client_id } = await server.createClient({ public: true })
  expect(await errorOf(await server.refresh(refresh_token, { client_id }))).toEqual([400, 'invalid_grant'])
  expect((await server.refresh(refresh_token)).status).toBe(200)
})

test('an app of the house refreshes by JSON; a dead token is a bare 401 with a detail', async () => {
  const server = await startServer()
  const { refresh_token } = await server.signIn()
  const renewed = await tokensOf(await server.json('/token/refresh', { refresh_token }))
  expect((await server.get('/collect', bearer(renewed.access_token))).status).toBe(200)

  const dead = await server.json('/token/refresh', { refresh_token })
  expect(dead.status).toBe(401)
  expect(dead.headers.get('www-authenticate')).toBeNull()
  expect(Object.keys((await dead.json()) as object)).toEqual(['detail'])
})

test('a client of somebody else may not refresh by JSON', async () => {
  const server = await startServer()
  const { client_id } = await server.createClient({ public: true })
  const { refresh_token } = await server.signIn({ client_id })
  expect((await server.json('/token/refresh', { refresh_token })).status).toBe(401)
  expect((await server.refresh(refresh_token, { client_id })).status).toBe(200)
})
