import { importJWK, jwtVerify } from 'jose'
import { expect, test } from 'vitest'
import { startServer } from './server-support.ts'

type Operations = Record<string, Record<string, { responses: object; security: object[] }>>

test('the metadata names endpoints that are there (RFC 8414)', async () => {
  const server = await startServer()
  const metadata = await (await server.get('/.well-known/oauth-authorization-server')).json()
  const { issuer, ...endpoints } = metadata as Record<string, string>
  expect(issuer).toBe(server.origin)
  for (const name of ['token_endpoint', 'revocation_endpoint', 'introspection_endpoint']) {
    expect((await fetch(String(endpoints[name]), { method: 'POST' })).status, name).toBe(400)
  }
})

test('anybody can check an access token by the published keys, which hold no secret', async () => {
  const server = await startServer()
  const { access_token } = await server.signIn()
  const { keys } = (await (await server.get('/.well-known/jwks.json')).json()) as { keys: Record<string, string>[] }
  expect(Object.keys(keys[0]!).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])

  const options = { issuer: server.origin, audience: server.origin }
  const { payload, protectedHeader } = await jwtVerify(access_token, await importJWK(keys[0]!), options)
  expect(protectedHeader.kid).toBe(keys[0]!.kid)
  expect(payload).toMatchObject({ sub: 'alice', client_id: 'demo', scope: 'collect activity' })
  expect(Object.keys(payload)).toEqual(expect.arrayContaining(['sid', 'jti', 'iat', 'exp']))
})

test('every route that is described is there, and asks for what the description says', async () => {
  const server = await startServer()
  const { paths, openapi } = (await (await server.get('/openapi.json')).json()) as {
    paths: Operations
    openapi: string
  }
  expect(openapi).toBe('3.1.0')
  expect(Object.keys(paths).length).toBeGreaterThanOrEqual(11)
  for (const [path, operations] of Object.entries(paths)) {
    for (const [method, { security, responses }] of Object.entries(operations)) {
      const answer = await fetch(server.origin + path.replaceAll(/{\w+}/g, 'x'), { method: method.toUpperCase() })
      await answer.body?.cancel()
      const isOpen = security.length === 0
      const described = Object.keys(responses)
      expect(
        described.some(status => status === String(answer.status) || status === '4XX'),
        `${method} ${path}`,
      ).toBe(true)
      expect([isOpen, answer.status], `${method} ${path}`).not.toEqual([false, 200])
    }
  }
})

test('every reference in the description leads somewhere', async () => {
  const server = await startServer()
  const description = await (await server.get('/openapi.json')).text()
  const { components } = JSON.parse(description) as { components: { schemas: object } }
  const references = [...description.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => String(name))
  expect(references.length).toBeGreaterThan(10)
  for (const name of references) expect(components.schemas).toHaveProperty(name)
})

test('the page of the docs has all that it loads on this server, and runs no inline script', async () => {
  const server = await startServer()
  const answer = await server.get('/docs')
  expect(answer.headers.get('content-security-policy')).toContain("default-src 'self'")
  const page = await answer.text()
  expect(page).not.toMatch(/https?:\/\//)
  const files = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, file]) => String(file))
  expect(files).toHaveLength(4)
  for (const file of files) expect((await server.get(file)).status, file).toBe(200)
})

test('the docs give away no other file', async () => {
  const server = await startServer()
  for (const path of ['/docs/package.json', '/docs/..%2fpackage.json', '/docs/%2e%2e/package.json', '/docs/']) {
    expect((await server.get(path)).status, path).toBe(404)
  }
})
