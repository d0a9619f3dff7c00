import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { secret } from '../support/no-leaks.ts'

export interface TabServer {
  readonly origin: string
  readonly stats: { tokenCalls: number; refused: number; apiCalls: number }
  /** From now on the API refuses every access token there is. */
  expireAccess(): void
  /** Answers of the token endpoint wait this long. */
  delayTokensMs: number
  /** The last spent refresh token gets its successor again, as servers with a reuse window do. */
  hasReuseWindow: boolean
  close(): Promise<void>
}

// The same session in a worker, on a storage that workers have: the page's, over messages.
const worker = `
  import { createSession } from '/latchkey.js'
  const calls = new Map()
  let next = 0
  const ask = (...call) => new Promise(resolve => { calls.set(++next, resolve); postMessage({ id: next, call }) })
  addEventListener('message', async ({ data }) => {
    if (data === 'call') {
      try { postMessage({ answer: (await session.fetch('/api')).status }) } catch (error) { postMessage({ answer: error.code ?? String(error) }) }
    } else calls.get(data.id)?.(data.value)
  })
  const storage = { getItem: key => ask('getItem', key), setItem: (key, value) => ask('setItem', key, value), removeItem: key => ask('removeItem', key) }
  const grant = async ({ refreshToken }, { fetch, signal }) => {
    const response = await fetch('/token', { method: 'POST', body: new URLSearchParams({ refresh_token: refreshToken }), signal })
    if (!response.ok) throw response
    return response.json()
  }
  const session = createSession({ resources: location.origin, name: 'tabs', grant, storage, renewal: { minIntervalMs: 0 } })
`

// A storage that pages and every kind of worker have, in a few lines: IndexedDB without compare and set.
const indexedDbStorage = `
  let opening
  const open = () => opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open('latchkey', 1)
    request.onupgradeneeded = () => request.result.createObjectStore('items')
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  const run = async (mode, act) => {
    const request = act((await open()).transaction('items', mode).objectStore('items'))
    return new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result)
      request.onerror = () => reject(request.error)
    })
  }
  export const indexedDbStorage = () => ({
    getItem: key => run('readonly', store => store.get(key)),
    setItem: (key, value) => run('readwrite', store => store.put(value, key)),
    removeItem: key => run('readwrite', store => store.delete(key)),
  })
`

const onIndexedDb = `
  import { createSession } from '/latchkey.js'
  import { indexedDbStorage } from '/indexed-db-storage.js'
  const grant = async ({ refreshToken }, { fetch, signal }) => {
    const response = await fetch('/token', { method: 'POST', body: new URLSearchParams({ refresh_token: refreshToken }), signal })
    if (!response.ok) throw response
    return response.json()
  }
  const session = createSession({ resources: location.origin, name: 'tabs', grant, storage: indexedDbStorage(), renewal: { minIntervalMs: 0 } })
  const call = async () => { try { return (await session.fetch('/api')).status } catch (error) { return error.code ?? String(error) } }
  const born = String(Math.random())
  addEventListener('message', async ({ data, ports: [port] }) => port.postMessage(data === 'born' ? born : await call()))
`

// Pages that it controls get what it fetched for them; everything else it leaves to them.
const serviceWorker = `${onIndexedDb}
  addEventListener('install', () => skipWaiting())
  addEventListener('activate', event => event.waitUntil(clients.claim()))
  addEventListener('fetch', event => {
    if (new URL(event.request.url).pathname === '/through-worker') event.respondWith(call().then(answer => new Response(String(answer))))
  })
`

const page = `<!doctype html><meta charset="utf-8"><title>tab</title><script type="module">
  import { createSession, webStorage } from '/latchkey.js'
  import { indexedDbStorage } from '/indexed-db-storage.js'
  const kind = new URLSearchParams(location.search).get('storage') ?? 'local'
  const storage = kind === 'indexed-db' ? indexedDbStorage() : webStorage(kind)
  globalThis.events = []
  const grant = async ({ refreshToken }, { fetch, signal }) => {
    const body = new URLSearchParams({ refresh_token: refreshToken })
    const response = await fetch('/token', { method: 'POST', body, signal })
    if (!response.ok) throw response
    return response.json()
  }
  globalThis.session = createSession({
    resources: location.origin, name: 'tabs', grant, storage, renewal: { minIntervalMs: 0, lockTimeoutMs: 4000, timeoutMs: 3000 },
  })
  for (const type of ['signed-out', 'degraded', 'renewal-failed', 'storage-failed'])
    session.on(type, payload => events.push([type, payload.reason ?? payload.what ?? payload.error?.code]))
  globalThis.call = async () => { try { return (await session.fetch('/api')).status } catch (error) { return error.code ?? String(error) } }
  void session.state
</script>`

// A frame that may run scripts and nothing else: its origin is nobody's, so even the server it came from is another one.
const framed = `<!doctype html><meta charset="utf-8"><title>framed</title><iframe sandbox="allow-scripts" src="/"></iframe>`
const cors = { 'access-control-allow-origin': '*', 'access-control-allow-headers': 'authorization' }

/** A page, a rotating token endpoint where each refresh token works once, and an API that knows the newest access token only. */
export async function createTabServer(): Promise<TabServer> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('../../src/index.ts', import.meta.url))],
    bundle: true,
    format: 'esm',
    write: false,
  })
  const script = outputFiles[0]?.text ?? ''
  const stats = { tokenCalls: 0, refused: 0, apiCalls: 0 }
  let current = 0
  let good = 0
  const issue = () => {
    good = ++current
    return { access_token: secret(`access-${current}`), refresh_token: secret(`refresh-${current}`), expires_in: 3600 }
  }

  async function answer(request: IncomingMessage): Promise<[status: number, type: string, body: string]> {
    const path = request.url?.split('?')[0]
    if (request.method === 'OPTIONS') return [204, 'text/plain', '']
    if (path === '/framed') return [200, 'text/html', framed]
    if (path === '/') return [200, 'text/html', page]
    if (path === '/latchkey.js') return [200, 'text/javascript', script]
    if (path === '/indexed-db-storage.js') return [200, 'text/javascript', indexedDbStorage]
    if (path === '/worker.js') return [200, 'text/javascript', worker]
    if (path === '/indexed-db-worker.js') return [200, 'text/javascript', onIndexedDb]
    if (path === '/service-worker.js') return [200, 'text/javascript', serviceWorker]
    if (path === '/sign-in') return [200, 'application/json', JSON.stringify(issue())]
    if (path === '/token') {
      let body = ''
      for await (const chunk of request) body += chunk
      stats.tokenCalls++
      const sent = new URLSearchParams(body).get('refresh_token')
      const isReused = server.hasReuseWindow && sent === secret(`refresh-${current - 1}`)
      const isGood = isReused || sent === secret(`refresh-${current}`)
      const response = isGood ? issue() : undefined
      if (!isGood) stats.refused++
      if (server.delayTokensMs) await new Promise(resolve => setTimeout(resolve, server.delayTokensMs))
      return response
        ? [200, 'application/json', JSON.stringify(response)]
        : [400, 'application/json', '{"error":"invalid_grant"}']
    }
    if (path === '/api') {
      stats.apiCalls++
      const isGood = request.headers.authorization === `Bearer ${secret(`access-${good}`)}`
      return isGood ? [200, 'text/plain', 'ok'] : [401, 'text/plain', 'no']
    }
    return [404, 'text/plain', '']
  }

  const listener = createServer(async (request, response) => {
    const [status, type, body] = await answer(request)
    response.writeHead(status, { 'content-type': type, ...cors }).end(body)
  })
  await new Promise<void>(resolve => listener.listen(0, '127.0.0.1', resolve))
  const server: TabServer = {
    origin: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    stats,
    delayTokensMs: 0,
    hasReuseWindow: false,
    expireAccess() {
      good = -1
    },
    close: () =>
      new Promise(resolve => {
        listener.close(() => resolve())
        listener.closeAllConnections()
      }),
  }
  return server
}
