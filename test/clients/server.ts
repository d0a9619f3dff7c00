import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { initTRPC } from '@trpc/server'
import { fetchRequestHandler } from '@trpc/server/adapters/fetch'
import { octetInputParser } from '@trpc/server/http'
import { secret } from '../runtimes/secret.ts'

const trpc = initTRPC.create()
/** The procedures that the tRPC recipe calls. */
export const router = trpc.router({
  list: trpc.procedure.query(() => [{ id: 1 }]),
  add: trpc.procedure
    .input((value: unknown) => value as { marker: string })
    .mutation(({ input }) => ({ id: 1, ...input })),
  upload: trpc.procedure.input(octetInputParser).mutation(async ({ input }) => {
    let bytes = 0
    for await (const chunk of input as unknown as AsyncIterable<Uint8Array>) bytes += chunk.length
    return { bytes }
  }),
})
export type Router = typeof router

/**
 * A rotating token endpoint, each refresh token works once, and an API behind it that knows the newest access token only and speaks what
 * each of the clients expects.
 */
export async function createClientsServer() {
  let issued = 0
  let isDead = false
  let isExpired = false
  const stats = { tokenCalls: 0, refused: 0, apiCalls: 0, unauthorized: 0 }
  /** What came with a token that works. */
  const accepted: { readonly method: string; readonly type: string; readonly body: Buffer }[] = []

  const issue = () => {
    issued++
    isExpired = false
    return { access_token: secret(`access-${issued}`), refresh_token: secret(`refresh-${issued}`), expires_in: 3600 }
  }

  function token(body: Buffer): [number, unknown] {
    stats.tokenCalls++
    const sent = new URLSearchParams(body.toString()).get('refresh_token')
    if (!isDead && sent === secret(`refresh-${issued}`)) return [200, issue()]
    stats.refused++
    return [400, { error: 'invalid_grant' }]
  }

  async function api(request: IncomingMessage, path: string, body: Buffer): Promise<[number, unknown]> {
    stats.apiCalls++
    if (isExpired || isDead || request.headers.authorization !== `Bearer ${secret(`access-${issued}`)}`) {
      stats.unauthorized++
      return [401, { detail: 'Could not validate credentials' }]
    }
    const { method = '', headers } = request
    // Without what is different each time.
    const type = headers['content-type']?.split(';')[0] ?? ''
    accepted.push({ method, type, body })
    if (path === '/graphql') {
      const item = { __typename: 'Item', id: 1 }
      if (type === 'multipart/form-data' || body.includes('upload(')) return [200, { data: { upload: item } }]
      const marker = method === 'POST' && JSON.parse(body.toString()).variables?.marker
      return [200, { data: marker ? { add: { ...item, marker } } : { items: [item] } }]
    }
    if (path.startsWith('/trpc')) {
      const init = {
        method: request.method ?? 'GET',
        headers: request.headers as Record<string, string>,
        ...(body.length && { body: new Uint8Array(body) }),
      }
      const answer = await fetchRequestHandler({
        endpoint: '/trpc',
        router,
        req: new Request(`http://localhost${request.url}`, init),
      })
      return [answer.status, await answer.json()]
    }
    if (path === '/v1/chat/completions') {
      return [
        200,
        { id: '1', object: 'chat.completion', choices: [{ index: 0, message: { role: 'assistant', content: 'ok' } }] },
      ]
    }
    if (path === '/v1/models') return [200, { object: 'list', data: [{ id: 'a-model' }] }]
    if (path === '/v1/files') return [200, { id: 'file-1', object: 'file', bytes: body.length }]
    return [request.method === 'POST' ? 201 : 200, request.method === 'POST' ? { id: 1 } : [{ id: 1 }]]
  }

  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    const path = request.url?.split('?')[0] ?? '/'
    const [status, value] = path === '/token' ? token(body) : await api(request, path, body)
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))

  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stats,
    accepted,
    signIn: issue,
    /** The access token ends, and its client can't know. */
    expire: () => {
      isExpired = true
    },
    /** The refresh token ends too. */
    kill: () => {
      isDead = true
    },
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}
