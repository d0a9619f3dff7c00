import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createSession, passwordGrant } from '../../src/index.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { caught, recordEvents } from './support.ts'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

let server: Server
let port: number
let broken: Handler | undefined
const listen = (at: number) => new Promise<void>(resolve => server.listen(at, '127.0.0.1', resolve))
const close = () => {
  server.closeAllConnections()
  return new Promise<void>(resolve => server.close(() => resolve()))
}

beforeEach(async () => {
  broken = undefined
  server = createServer((request, response) => {
    request.resume()
    if (request.url === '/items') response.end('ok')
    else if (broken) broken(request, response)
    else {
      const tokens = { access_token: secret('new'), refresh_token: secret('new-refresh'), expires_in: 60 }
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(tokens))
    }
  })
  await listen(0)
  port = (server.address() as AddressInfo).port
})
afterEach(async () => {
  if (server.listening) await close()
})

/** A session whose token has expired, over the platform's own fetch. */
async function setUp(scheme = 'http') {
  const clock = createClock()
  const items = new Map<string, string>()
  let wake: () => void = () => undefined
  const session = createSession({
    resources: `http://127.0.0.1:${port}`,
    name: 'test',
    grant: passwordGrant({ tokenEndpoint: `${scheme}://127.0.0.1:${port}/token` }),
    clock,
    storage: {
      getItem: key => items.get(key),
      setItem: (key, value) => void items.set(key, value),
      removeItem: key => void items.delete(key),
    },
    wake: listener => {
      wake = listener
      return () => undefined
    },
  })
  const events = recordEvents(session as never)
  await session.adopt({ access_token: secret('old'), refresh_token: secret('refresh'), expires_in: 60 })
  clock.advance(61_000)
  const call = () => caught(session.fetch(`http://127.0.0.1:${port}/items`))
  return { session, items, events, call, wake: () => wake() }
}

const faults: [what: string, broken: Handler][] = [
  ['the connection is reset before an answer', request => void request.socket.destroy()],
  [
    'the connection is reset in the middle of the answer',
    (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
      response.write('{"access_token":"')
      setTimeout(() => response.socket?.destroy(), 5)
    },
  ],
  [
    'the answer ends early',
    (_request, response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{"access_token":"x'),
  ],
  [
    'a captive portal leads to its own page',
    (request, response) =>
      request.url === '/portal' ? response.end('<html>') : response.writeHead(303, { location: '/portal' }).end(),
  ],
  ['what answers speaks no HTTP', request => void request.socket.end('SSH-2.0-OpenSSH_9.9\r\n')],
]

describe('pain 2: on a real line', () => {
  it.each(faults)('%s: the session is kept, and the next call after it renews', async (_what, fault) => {
    const { session, items, events, call, wake } = await setUp()
    broken = fault
    expect((await call()).error).toMatchObject({ name: 'SessionError', retryable: true, signInRequired: false })
    expect(session.state.status).toBe('signed-in')
    expect(items.get('latchkey:test')).toContain(secret('refresh'))
    broken = undefined
    wake()
    expect((await call()).value).toMatchObject({ status: 200 })
    expect(items.get('latchkey:test')).toContain(secret('new-refresh'))
    expect(events.filter(event => event.startsWith('signed-out'))).toEqual([])
    session.dispose()
  })

  it('nobody listens there: the session is kept, and renews once somebody does', async () => {
    const { session, items, call, wake } = await setUp()
    await close()
    expect((await call()).error).toMatchObject({ code: 'unreachable', retryable: true })
    expect(items.get('latchkey:test')).toContain(secret('refresh'))
    await listen(port)
    wake()
    expect((await call()).value).toMatchObject({ status: 200 })
    session.dispose()
  })

  it('TLS fails: the session is kept', async () => {
    const { session, items, call } = await setUp('https')
    expect((await call()).error).toMatchObject({ code: 'unreachable', retryable: true })
    expect(session.state.status).toBe('signed-in')
    expect(items.get('latchkey:test')).toContain(secret('refresh'))
    session.dispose()
  })
})
