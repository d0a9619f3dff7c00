import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parentPort, Worker } from 'node:worker_threads'

/** An API on a loopback address, in a thread of its own so that it does not share the clients' event loop. */
export async function startLoopbackServer(): Promise<{ origin: string; stop(): Promise<unknown> }> {
  const worker = new Worker(new URL(import.meta.url), { execArgv: [], name: 'api' })
  const [port] = await once(worker, 'message')
  return { origin: `http://127.0.0.1:${port}`, stop: () => worker.terminate() }
}

if (parentPort) {
  const server = createServer(({ headers }, response) => {
    const isKnown = headers.authorization?.startsWith('Bearer ')
    response.writeHead(isKnown ? 200 : 401, { 'content-type': 'text/plain', 'content-length': 2 })
    response.end(isKnown ? 'ok' : 'no')
  })
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1', () => parentPort?.postMessage((server.address() as AddressInfo).port))
}
