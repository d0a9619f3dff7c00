import { expect, test } from 'vitest'
import { bearer, startServer } from './server-support.ts'

const app = 'https://app.example'
const allowedOrigins = [app]

function preflight(origin: string, server: { origin: string }) {
  const headers = {
    origin,
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization, content-type',
  }
  return fetch(`${server.origin}/collect`, { method: 'OPTIONS', headers })
}

test('a page of an allowed origin gets a preflight that may be kept, and needs no token', async () => {
  const { status, headers } = await preflight(app, await startServer({ allowedOrigins }))
  expect(status).toBe(204)
  expect(headers.get('access-control-allow-origin')).toBe(app)
  expect(headers.get('access-control-max-age')).toBe('600')
  expect(headers.get('access-control-allow-headers')?.toLowerCase()).toContain('authorization')
  expect(headers.get('access-control-allow-methods')).toContain('POST')
  expect(headers.get('vary')).toContain('Origin')
})

test.each(['https://app.example.evil.example', 'http://app.example', 'https://app.example:8443', 'null'])(
  'the origin %s is not the allowed one',
  async origin => {
    const server = await startServer({ allowedOrigins })
    expect((await preflight(origin, server)).headers.has('access-control-allow-origin')).toBe(false)
    const answer = await server.get('/collect', { origin })
    expect(answer.headers.has('access-control-allow-origin')).toBe(false)
    expect(answer.headers.get('vary')).toContain('Origin')
  },
)

test('a page can read why it was refused, and when to come again', async () => {
  const server = await startServer({ allowedOrigins })
  server.faults.failNextToken({ status: 503, retryAfter: 1 })
  const answers = [
    await server.get('/collect', { origin: app, ...bearer('x') }),
    await server.form('/token', {}, { origin: app }),
    await server.get('/nothing', { origin: app }),
    await server.post('/collect', { headers: { origin: app }, body: 'x'.repeat(70_000) }),
  ]
  expect(answers.map(({ status }) => status)).toEqual([401, 503, 404, 413])
  for (const { headers } of answers) {
    expect(headers.get('access-control-allow-origin')).toBe(app)
    expect(headers.get('access-control-expose-headers')).toBe('WWW-Authenticate,Retry-After')
    expect(headers.get('vary')).toContain('Origin')
  }
})

test('there are no cookies, and no credentials mode', async () => {
  const server = await startServer({ allowedOrigins })
  const { access_token } = await server.signIn()
  const answers = [
    await preflight(app, server),
    await server.get('/collect', { origin: app, ...bearer(access_token) }),
    await server.get('/docs', { origin: app }),
  ]
  for (const { headers } of answers) {
    expect(headers.has('set-cookie')).toBe(false)
    expect(headers.has('access-control-allow-credentials')).toBe(false)
  }
})
