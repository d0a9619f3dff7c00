import { request } from 'node:http'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { secret } from '../support/no-leaks.ts'
import { adminKey, bearer, errorOf, startSharedServer, type TestServer } from './server-support.ts'

const urlencoded = { 'content-type': 'application/x-www-form-urlencoded' }
const asJson = { 'content-type': 'application/json' }
const admin = { ...asJson, 'x-api-key': adminKey }
const client = 'client_id=demo'
const basicOf = (text: string) => ({ ...urlencoded, authorization: `Basic ${btoa(text)}` })

type Row = [title: string, path: string, init: RequestInit, status: number, error: string]
const table: Row[] = [
  ['no body', '/token', {}, 400, 'invalid_request'],
  ['a form that says it is JSON', '/token', { headers: asJson, body: client }, 400, 'invalid_request'],
  ['an empty form', '/token', { headers: urlencoded, body: '' }, 401, 'invalid_client'],
  ['an unknown client', '/token', { headers: urlencoded, body: 'client_id=nobody' }, 401, 'invalid_client'],
  ['no grant_type', '/token', { headers: urlencoded, body: client }, 400, 'invalid_request'],
  [
    'a grant_type without a value',
    '/token',
    { headers: urlencoded, body: `${client}&grant_type=` },
    400,
    'invalid_request',
  ],
  [
    'an unknown grant_type',
    '/token',
    { headers: urlencoded, body: `${client}&grant_type=implicit` },
    400,
    'unsupported_grant_type',
  ],
  [
    'a grant_type that every object has',
    '/token',
    { headers: urlencoded, body: `${client}&grant_type=constructor` },
    400,
    'unsupported_grant_type',
  ],
  [
    'a parameter twice',
    '/token',
    { headers: urlencoded, body: `${client}&grant_type=password&grant_type=password` },
    400,
    'invalid_request',
  ],
  [
    'no password',
    '/token',
    { headers: urlencoded, body: `${client}&grant_type=password&username=alice` },
    400,
    'invalid_request',
  ],
  [
    'an unknown scope',
    '/token',
    { headers: urlencoded, body: `${client}&grant_type=password&username=a&password=b&scope=all` },
    400,
    'invalid_scope',
  ],
  [
    'a scope of spaces',
    '/token',
    { headers: urlencoded, body: `${client}&grant_type=password&username=a&password=b&scope=+` },
    400,
    'invalid_scope',
  ],
  [
    'no refresh_token',
    '/token',
    { headers: urlencoded, body: `${client}&grant_type=refresh_token` },
    400,
    'invalid_request',
  ],
  [
    'an unknown refresh_token',
    '/token',
    { headers: urlencoded, body: `${client}&grant_type=refresh_token&refresh_token=x` },
    400,
    'invalid_grant',
  ],
  [
    'half a percent sign in Basic',
    '/token',
    { headers: basicOf('%:%'), body: 'grant_type=password' },
    401,
    'invalid_client',
  ],
  ['no colon in Basic', '/token', { headers: basicOf('demo'), body: 'grant_type=password' }, 401, 'invalid_client'],
  ['no Basic at all', '/token', { headers: { ...urlencoded, ...bearer('x') }, body: client }, 401, 'invalid_client'],
  [
    'a secret for a public client',
    '/token',
    { headers: basicOf('demo:x'), body: 'grant_type=password' },
    401,
    'invalid_client',
  ],
  ['no token to revoke', '/revoke', { headers: urlencoded, body: client }, 400, 'invalid_request'],
  [
    'an unknown client that revokes',
    '/revoke',
    { headers: urlencoded, body: 'client_id=x&token=x' },
    401,
    'invalid_client',
  ],
  ['JSON to introspect', '/introspect', { headers: asJson, body: '{}' }, 400, 'invalid_request'],
  ['a client that is no JSON', '/clients', { headers: admin, body: '{' }, 400, 'invalid_request'],
  ['a client that is a list', '/clients', { headers: admin, body: '[]' }, 400, 'invalid_request'],
  ['a client without a name', '/clients', { headers: admin, body: '{"scopes":["collect"]}' }, 400, 'invalid_request'],
  ['a client without scopes', '/clients', { headers: admin, body: '{"name":"a","scopes":[]}' }, 400, 'invalid_request'],
  [
    'a client with an unknown scope',
    '/clients',
    { headers: admin, body: '{"name":"a","scopes":["all"]}' },
    400,
    'invalid_request',
  ],
  [
    'a client from nowhere',
    '/clients',
    { headers: admin, body: '{"name":"a","scopes":["collect"],"addresses":["here"]}' },
    400,
    'invalid_request',
  ],
  [
    'a client from too wide a range',
    '/clients',
    { headers: admin, body: '{"name":"a","scopes":["collect"],"addresses":["10.0.0.0/33"]}' },
    400,
    'invalid_request',
  ],
  [
    'a client that is maybe public',
    '/clients',
    { headers: admin, body: '{"name":"a","scopes":["collect"],"public":"yes"}' },
    400,
    'invalid_request',
  ],
  [
    'a client in plain text',
    '/clients',
    { headers: { 'x-api-key': adminKey }, body: '{}' },
    415,
    'unsupported_media_type',
  ],
  ['no token', '/collect', { headers: asJson, body: '{}' }, 401, 'unauthorized'],
  [
    'a token that is none',
    '/collect',
    { headers: { ...asJson, ...bearer('x.y.z') }, body: '{}' },
    401,
    'invalid_token',
  ],
  ['a token with spaces', '/collect', { headers: { ...asJson, ...bearer('x y') }, body: '{}' }, 401, 'invalid_token'],
  ['an unknown API key', '/collect', { headers: { ...asJson, 'x-api-key': 'x' }, body: '{}' }, 401, 'invalid_api_key'],
  ['too large a body', '/token', { headers: urlencoded, body: `a=${'x'.repeat(65_536)}` }, 413, 'payload_too_large'],
  ['a path that is not there', '/tokens', {}, 404, 'not_found'],
]

// One for all of them: whatever came before, the next call is answered as if it were the first.
let server: TestServer
beforeAll(async () => {
  server = await startSharedServer()
})
afterAll(() => server.close())

test.each(table)('%s: POST %s is a clear 4xx', async (_, path, init, status, error) => {
  const answer = await server.post(path, init)
  expect(answer.headers.get('content-type')).toBe('application/json')
  expect(await errorOf(answer)).toEqual([status, error])
})

test('a method that a path does not take is 405, and names those that it takes', async () => {
  for (const [path, allow] of [
    ['/token', 'POST'],
    ['/collect', 'GET, HEAD, POST'],
  ] as const) {
    const answer = await fetch(server.origin + path, { method: 'PUT' })
    expect(answer.headers.get('allow')).toBe(allow)
    expect(await errorOf(answer)).toEqual([405, 'method_not_allowed'])
  }
})

test('POST /token/refresh answers what it can not read with a detail', async () => {
  const rows: [RequestInit, number][] = [
    [{ headers: asJson, body: '{' }, 400],
    [{ headers: asJson, body: 'null' }, 400],
    [{ headers: asJson, body: '{}' }, 400],
    [{ headers: asJson, body: '{"refresh_token":7}' }, 400],
    [{ body: '{}' }, 415],
  ]
  for (const [init, status] of rows) {
    const answer = await server.post('/token/refresh', init)
    expect([answer.status, Object.keys((await answer.json()) as object)]).toEqual([status, ['detail']])
  }
})

test('what is collected has to be JSON, and may be any', async () => {
  const { access_token } = await server.signIn()
  const send = async (body: string, headers: object = asJson) =>
    (await server.post('/collect', { headers: { ...headers, ...bearer(access_token) }, body })).status
  expect(await send('{')).toBe(400)
  expect(await send('')).toBe(400)
  expect(await send('{}', {})).toBe(415)
  for (const body of ['null', '"\\u0000"', '"\\ud800"', '[1,{"__proto__":1}]']) expect(await send(body), body).toBe(201)
  expect((await server.get('/collect', bearer(access_token))).status).toBe(200)
})

test('a body without a length is measured too', async () => {
  expect(await raw({ method: 'POST', path: '/token', headers: urlencoded }, 'x'.repeat(70_000))).toBe(413)
})

test('a path that is no URL is a 4xx', async () => {
  for (const path of ['//', '/%', '/%00', '/collect/%ff', '/clients/%E0%A4%A/keys', '/docs/%', 'http://[', '*']) {
    const status = await raw({ method: 'GET', path })
    expect(status >= 400 && status < 500, `${path} was ${status}`).toBe(true)
  }
})

test('whatever is sent, the server never fails', async () => {
  const { access_token } = await server.signIn()
  const word = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 12 }),
    fc.constantFrom(
      'password',
      'refresh_token',
      'client_credentials',
      'demo',
      'alice',
      'collect',
      '\0',
      '%',
      '\ud800',
      '__proto__',
    ),
  )
  const name = fc.oneof(
    word,
    fc.constantFrom(
      'grant_type',
      'client_id',
      'client_secret',
      'username',
      'password',
      'scope',
      'token',
      'refresh_token',
    ),
  )
  const form = fc
    .array(fc.tuple(name, word))
    .map(pairs => ({ headers: urlencoded, body: new URLSearchParams(pairs).toString() }))
  const json = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(fc.constantFrom('name', 'scopes', 'addresses', 'public', 'refresh_token'), fc.jsonValue()),
  )
  const body = fc.oneof(
    form,
    json.map(value => ({ headers: admin, body: JSON.stringify(value) })),
    fc.uint8Array({ maxLength: 64 }).map(bytes => ({ headers: urlencoded, body: bytes })),
    fc.uint8Array({ maxLength: 64 }).map(bytes => ({ headers: admin, body: bytes })),
  )
  const headerText = fc.string({ unit: fc.constantFrom(...' !"%,:;=.-~aB09+/\u00ff'), maxLength: 20 })
  const headers = fc.oneof(
    fc.constant({}),
    fc.constant(bearer(access_token)),
    headerText.map(text => ({ authorization: `Basic ${text}` })),
    headerText.map(text => ({ authorization: `Basic ${btoa(text)}` })),
    headerText.map(text => ({ authorization: `Bearer ${text}` })),
    headerText.map(text => ({ 'content-type': `application/json${text}`, origin: text, 'x-forwarded-for': text })),
    headerText.map(text => ({ 'last-event-id': text })),
  )
  const method = fc.constantFrom('POST', 'GET', 'DELETE', 'OPTIONS')
  const path = fc.constantFrom(
    '/token',
    '/token/refresh',
    '/revoke',
    '/introspect',
    '/collect',
    '/clients',
    '/clients/demo/keys',
    '/activity',
  )
  const query = fc.webQueryParameters()
  const property = fc.asyncProperty(method, path, query, body, headers, async (method, path, query, content, more) => {
    const init: RequestInit = { method, headers: { ...content.headers, ...more } }
    if (method === 'POST') init.body = content.body as BodyInit
    const answer = await fetch(`${server.origin}${path}?${query}`, init)
    const text = await answer.text()
    expect(answer.status).toBeLessThan(500)
    if (answer.status >= 400 && text !== '') expect(JSON.parse(text)).toBeTypeOf('object')
  })
  await fc.assert(property, { numRuns: 300 })
}, 60_000)

test('no error answer repeats a secret that was sent', async () => {
  const sent = secret('sent')
  const answers = [
    await server.form('/token', { grant_type: sent, client_id: 'demo' }),
    await server.form('/token', { grant_type: 'password', client_id: 'demo', username: 'alice', password: sent }),
    await server.form('/token', { grant_type: 'refresh_token', client_id: 'demo', refresh_token: sent, scope: sent }),
    await server.form('/token', { client_id: sent, client_secret: sent }),
    await server.get('/collect', bearer(sent)),
    await server.get('/collect', { 'x-api-key': sent }),
    await server.json('/token/refresh', { refresh_token: sent }),
  ]
  for (const answer of answers) {
    expect((await answer.text()).includes(sent)).toBe(false)
    expect([...answer.headers].join().includes(sent)).toBe(false)
  }
})

/** What fetch would not send: chunks without a length, and paths that are no URL. */
function raw(options: { method: string; path: string; headers?: object }, body?: string) {
  const { hostname, port } = new URL(server.origin)
  return new Promise<number>((resolve, reject) => {
    const call = request({ hostname, port, ...options, headers: { ...options.headers } }, answer => {
      answer.resume()
      resolve(answer.statusCode ?? 0)
    })
    call.on('error', reject)
    if (body) call.write(body)
    call.end()
  })
}
