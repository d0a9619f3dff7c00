import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { secret } from '../support/no-leaks.ts'

/** A token endpoint for client credentials, and an API that knows the newest access token only. */
export async function createClientServer() {
  const stats = { tokenCalls: 0, refused: 0 }
  let good = 0
  const listener = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    if (request.url === '/token') {
      const isGood = new URLSearchParams(body).get('grant_type') === 'client_credentials'
      if (!isGood) stats.refused++
      good = ++stats.tokenCalls
      response.writeHead(isGood ? 200 : 400, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ access_token: secret(`client-${good}`), token_type: 'Bearer', expires_in: 3600 }))
    } else {
      const isGood = good > 0 && request.headers.authorization === `Bearer ${secret(`client-${good}`)}`
      response.writeHead(isGood ? 200 : 401).end()
    }
  })
  await new Promise<void>(resolve => listener.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    stats,
    expireAccess() {
      good = -1
    },
    close: () =>
      new Promise<void>(resolve => {
        listener.close(() => resolve())
        listener.closeAllConnections()
      }),
  }
}
