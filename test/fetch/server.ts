import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import { createSession, type SessionOptions, type TokenResponse } from '../../src/index.ts'
import { secret } from '../support/no-leaks.ts'

export interface Seen {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly rawHeaders: readonly string[]
  readonly body: string
}

export type Answer = (seen: Seen, response: ServerResponse) => unknown

/** A real server that writes down what it sees and answers what the test says; by default 200. Ends with the test. */
export async function listen(answer: Answer = () => undefined, host = '127.0.0.1') {
  const seen: Seen[] = []
  const server = createServer(async (request, response) => {
    let body = ''
    try {
      for await (const chunk of request.setEncoding('latin1')) body += chunk
    } catch {
      return // the caller aborted
    }
    const { method = '', url: path = '', headers, rawHeaders } = request
    const one = { method, path, headers, rawHeaders, body }
    if (path !== '/favicon.ico') seen.push(one)
    await answer(one, response)
    if (!response.writableEnded) response.end('ok')
  })
  await new Promise<void>(resolve => server.listen(0, host, resolve))
  onTestFinished(
    () =>
      new Promise<void>(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  )
  const { port } = server.address() as AddressInfo
  return { origin: `http://${host}:${port}`, port, seen }
}

export const access = (number: number) => secret(`access-${number}`)
export const tokens = (number: number, expiresIn = 3600): TokenResponse => ({
  access_token: access(number),
  refresh_token: secret(`refresh-${number}`),
  expires_in: expiresIn,
})
/** The default API: one access token works, the others get a 401 in the bare way of many frameworks. */
export const onlyToken =
  (number: number): Answer =>
  ({ headers }, response) =>
    headers.authorization === `Bearer ${access(number)}`
      ? undefined
      : response.writeHead(401, { 'Content-Type': 'application/json' }).end('{"detail":"no"}')

/** A signed-in session whose token 1 is old enough for a 401 to count; each renewal brings the next. */
export async function open(
  origin: string | string[],
  options: Partial<SessionOptions<never>> & { expiresIn?: number; agoMs?: number } = {},
) {
  const { expiresIn = 3600, agoMs = 600_000, ...rest } = options
  const renewals: number[] = []
  const session = createSession({
    resources: origin,
    grant: () => {
      renewals.push(renewals.length + 2)
      return Promise.resolve(tokens(renewals.length + 1))
    },
    ...(rest as object),
  })
  onTestFinished(() => session.dispose())
  await session.adopt(tokens(1, expiresIn), { obtainedAtMs: Date.now() - agoMs })
  return { session, renewals }
}
