import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createSecureServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { secret } from './secret.ts'

/** One request as the wire brought it. */
export interface Sent {
  readonly method: string
  readonly path: string
  readonly headers: Record<string, string>
  readonly bytes: number
  readonly sha256: string
  /** As latin1; empty where it is big. */
  readonly body: string
}

interface Realm {
  issued: number
  isExpired: boolean
  readonly log: Sent[]
}

const bigBytes = 1_000_000
// A careless server: what is not to reach it, is kept back by whoever calls.
const cors = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': '*, authorization' }

/**
 * An API on a real port, with a control plane over HTTP, so that whatever runs the test (another Node, Bun, a browser) can use it.
 * Each `/r/<realm>/` is a world of its own: `POST token` issues the next token, `POST expire` ends the one that is out,
 * `api/…` answers 401 to all but the newest and writes down what came, or leads `?to=` another place, `GET log` tells it. With a certificate it speaks HTTP/2, over
 * which alone a browser streams what it sends.
 */
export async function createBodyServer(
  page?: (path: string) => string | undefined,
  certificate?: { key: string; cert: string },
) {
  const realms = new Map<string, Realm>()
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    handle(request, response).catch(() => response.destroy())
  }
  const sessions = new Set<{ destroy(): void }>()
  // The compatible API of HTTP/2 has what is used of the other.
  const server = certificate ? createSecureServer(certificate, answer as never) : createServer(answer)
  server.on('session', session => sessions.add(session))

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://localhost')
    const [, name, rest = ''] = /^\/r\/([^/]+)\/(.*)$/.exec(url.pathname) ?? []
    if (name === undefined) {
      const text = page?.(url.pathname)
      const type = url.pathname.endsWith('.js') ? 'text/javascript' : 'text/html'
      response.writeHead(text === undefined ? 404 : 200, { 'Content-Type': `${type}; charset=utf-8` }).end(text)
      return
    }
    const realm = realms.get(name) ?? { issued: 0, isExpired: false, log: [] }
    realms.set(name, realm)
    const sent = await record(request, url)
    const json = (status: number, value: unknown, headers = {}) =>
      response.writeHead(status, { 'Content-Type': 'application/json', ...cors, ...headers }).end(JSON.stringify(value))
    if (sent.method === 'OPTIONS') {
      response.writeHead(204, cors).end()
    } else if (rest === 'token') {
      realm.issued++
      realm.isExpired = false
      json(200, {
        access_token: secret(`access-${realm.issued}`),
        refresh_token: secret(`refresh-${realm.issued}`),
        expires_in: Number(url.searchParams.get('expires_in') ?? 3600),
      })
    } else if (rest === 'expire') {
      realm.isExpired = true
      json(200, {})
    } else if (rest === 'log') {
      json(200, realm.log)
    } else {
      realm.log.push(sent)
      const to = url.searchParams.get('to')
      if (to) return void json(Number(url.searchParams.get('status')), {}, { Location: to })
      const isGood = !realm.isExpired && sent.headers.authorization === `Bearer ${secret(`access-${realm.issued}`)}`
      if (isGood || url.searchParams.has('public')) json(200, { ok: true, bytes: sent.bytes })
      else json(401, { detail: 'Could not validate credentials' })
    }
  }

  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `${certificate ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise<void>(resolve => {
        server.close(() => resolve())
        for (const session of sessions) session.destroy()
        if ('closeAllConnections' in server) server.closeAllConnections()
      }),
  }
}

async function record(request: IncomingMessage, url: URL): Promise<Sent> {
  const hash = createHash('sha256')
  const kept: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    hash.update(chunk)
    bytes += chunk.length
    if (bytes <= bigBytes) kept.push(chunk)
  }
  return {
    method: request.method ?? '',
    path: url.pathname.replace(/^\/r\/[^/]+/, '') + url.search,
    headers: Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)])),
    bytes,
    sha256: hash.digest('hex'),
    body: bytes <= bigBytes ? Buffer.concat(kept).toString('latin1') : '',
  }
}
