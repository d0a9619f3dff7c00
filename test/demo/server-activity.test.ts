import { expect, onTestFinished, test, vi } from 'vitest'
import { bearer, errorOf, startServer, type TestServer, testClock, tokensOf } from './server-support.ts'

interface Entry {
  id: number
  kind: string
  address: string
  sid: string
}

async function entries(server: TestServer, token: string, query = '') {
  const answer = await server.get(`/activity${query}`, bearer(token))
  return ((await answer.json()) as { entries: Entry[] }).entries
}

/** The events of the stream, one per call; `undefined` at its end. Comments are events of the kind `:`. */
async function openStream(server: TestServer, token: string, headers: Record<string, string> = {}) {
  const abort = new AbortController()
  onTestFinished(() => abort.abort())
  const init = { headers: { ...bearer(token), ...headers }, signal: abort.signal }
  const answer = await fetch(`${server.origin}/activity/stream`, init)
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
  let buffer = ''
  const next = async (): Promise<{ kind: string; id?: string; entry?: Entry } | undefined> => {
    while (!buffer.includes('\n\n')) {
      const { done, value } = await reader.read()
      if (done) return undefined
      buffer += value
    }
    const [event = '', ...rest] = buffer.split('\n\n')
    buffer = rest.join('\n\n')
    if (event.startsWith(':')) return { kind: ':' }
    const fields = Object.fromEntries(event.split('\n').map(line => line.split(/: (.*)/s).slice(0, 2)))
    return { kind: fields.event, id: fields.id, entry: JSON.parse(fields.data) }
  }
  return { answer, next, abort }
}

test('the owner sees sign-in, renewal, revocation and reuse, newest first', async () => {
  const server = await startServer()
  const watcher = await server.signIn()
  const { refresh_token } = await server.signIn()
  await server.refresh(refresh_token)
  await server.refresh(refresh_token)
  const other = await server.signIn()
  await server.form('/revoke', { client_id: 'demo', token: other.refresh_token })
  const seen = await entries(server, watcher.access_token)
  expect(seen.map(({ kind }) => kind)).toEqual(['revoked', 'sign-in', 'reuse', 'renewal', 'sign-in', 'sign-in'])
  expect(seen.every(({ address }) => address === '127.0.0.1')).toBe(true)
  expect(seen[2]!.sid).toBe(seen[4]!.sid)
})

test('a new address is news once, wherever it calls; the first one of an owner is not', async () => {
  const server = await startServer({ trustProxy: true })
  const from = (address: string) => ({ 'x-forwarded-for': address })
  const { access_token, refresh_token } = await server.signIn({}, from('192.0.2.1'))
  const stolen = { ...bearer(access_token), ...from('198.51.100.9') }
  for (const _ of [1, 2]) await server.get('/collect', stolen)
  await server.refresh(refresh_token, {}, from('203.0.113.5'))
  const seen = await entries(server, access_token)
  expect(seen.map(({ kind, address }) => `${kind} ${address}`)).toEqual([
    'new-address 127.0.0.1', // this very call
    'renewal 203.0.113.5',
    'new-address 203.0.113.5',
    'new-address 198.51.100.9',
    'sign-in 192.0.2.1',
  ])
})

test('nobody sees the activity of another owner', async () => {
  const server = await startServer()
  await server.signIn()
  const { client_id, client_secret } = await server.createClient({ scopes: ['activity'] })
  const fields = { grant_type: 'client_credentials', client_id, client_secret }
  const { access_token } = await tokensOf(await server.form('/token', fields))
  expect((await entries(server, access_token)).map(({ kind }) => kind)).toEqual(['sign-in'])
})

test('the list is as long as was asked for, and 1 to 100 long', async () => {
  const server = await startServer()
  const { access_token } = await server.signIn()
  for (const _ of [1, 2, 3]) await server.signIn()
  expect(await entries(server, access_token, '?limit=2')).toHaveLength(2)
  for (const limit of ['0', '101', '-1', 'x', '1e2', '9999999999999999999999']) {
    const answer = await server.get(`/activity?limit=${limit}`, bearer(access_token))
    expect(await errorOf(answer), limit).toEqual([400, 'invalid_request'])
  }
})

test('the stream tells of a renewal as it happens', async () => {
  const server = await startServer()
  const { access_token, refresh_token } = await server.signIn()
  const { answer, next } = await openStream(server, access_token)
  expect(answer.headers.get('content-type')).toBe('text/event-stream')
  expect(await next()).toEqual({ kind: ':' })
  await server.refresh(refresh_token)
  const event = await next()
  expect(event).toMatchObject({ kind: 'renewal', entry: { kind: 'renewal' } })
  expect(event?.id).toBe(String(event?.entry?.id))
})

test('a stream that comes back with Last-Event-ID misses nothing', async () => {
  const server = await startServer()
  const { access_token } = await server.signIn()
  const [{ id } = { id: 0 }] = await entries(server, access_token)
  for (const _ of [1, 2]) await server.signIn()
  const { next } = await openStream(server, access_token, { 'last-event-id': String(id) })
  expect([(await next())?.id, (await next())?.id]).toEqual([String(id + 1), String(id + 2)])
  expect(await next()).toEqual({ kind: ':' })
  await server.signIn()
  expect((await next())?.id).toBe(String(id + 3))

  const wrong = await server.get('/activity/stream', { ...bearer(access_token), 'last-event-id': 'x' })
  expect(await errorOf(wrong)).toEqual([400, 'invalid_request'])
})

test('reuse of a stolen token is told to the owner, and ends the stream of that session', async () => {
  const server = await startServer()
  const { access_token, refresh_token } = await server.signIn()
  const { next } = await openStream(server, access_token)
  await next()
  await server.refresh(refresh_token)
  await server.refresh(refresh_token)
  expect([(await next())?.kind, (await next())?.kind, await next()]).toEqual(['renewal', 'reuse', undefined])
})

test('heart-beats keep the stream open, until its access token expires', async () => {
  const clock = testClock()
  const server = await startServer({ clock, heartbeatMs: 5 })
  const { access_token } = await server.signIn()
  const { next } = await openStream(server, access_token)
  for (const _ of [1, 2, 3]) expect(await next()).toEqual({ kind: ':' })
  clock.advance(300_000)
  const rest = []
  for (let event = await next(); event; event = await next()) rest.push(event.kind)
  expect(rest.every(kind => kind === ':')).toBe(true)
  expect(server.stats().streams).toBe(0)
})

test('a reader that leaves is forgotten', async () => {
  const server = await startServer()
  const { access_token } = await server.signIn()
  const { next, abort } = await openStream(server, access_token)
  await next()
  expect(server.stats().streams).toBe(1)
  abort.abort()
  await vi.waitFor(() => expect(server.stats().streams).toBe(0))
})

test('closing the server ends its streams', async () => {
  const server = await startServer()
  const { access_token } = await server.signIn()
  const { next } = await openStream(server, access_token)
  await next()
  await server.close()
  expect(await next().catch(() => undefined)).toBeUndefined()
})

test('the stream is for owners only', async () => {
  const server = await startServer()
  expect(await errorOf(await server.get('/activity/stream'))).toEqual([401, 'unauthorized'])
  const { access_token } = await server.signIn({ scope: 'collect' })
  const answer = await server.get('/activity/stream', bearer(access_token))
  expect(await errorOf(answer)).toEqual([403, 'insufficient_scope'])
})
