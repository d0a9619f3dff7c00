import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** An API and its authorization server: short tokens, and refresh tokens that work once. */
export interface FleetServer {
  readonly origin: string
  readonly stats: {
    /** Calls that brought a new pair of tokens. */
    renewals: number
    /** Spent refresh tokens that came back too late: the end of a session. */
    refused: number
    /** Access tokens that were followed by another at the API. */
    expiries: number
  }
  signIn(): object
  close(): void
}

/** A renewal whose caller was killed before it had its answer may be repeated for so long. */
const reuseWindowMs = 10_000

export async function createFleetServer(lifetimeMs: number): Promise<FleetServer> {
  const stats = { renewals: 0, refused: 0, expiries: -1 }
  const accesses = new Map<string, { untilMs: number; isUsed: boolean }>()
  const refreshes = new Map<string, { spentMs?: number }>()

  function issue(): object {
    const [access, refresh] = [randomUUID(), randomUUID()]
    accesses.set(access, { untilMs: Date.now() + lifetimeMs, isUsed: false })
    refreshes.set(refresh, {})
    return { access_token: access, refresh_token: refresh, token_type: 'Bearer', expires_in: lifetimeMs / 1000 }
  }

  const listener = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const answer = (status: number, json: object) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json))
    if (request.url === '/token') {
      const known = refreshes.get(new URLSearchParams(body).get('refresh_token') ?? '')
      // A real one takes its time.
      await new Promise(resolve => setTimeout(resolve, 20 + Math.random() * 60))
      if (!known || (known.spentMs !== undefined && Date.now() - known.spentMs > reuseWindowMs)) {
        stats.refused++
        return answer(400, { error: 'invalid_grant' })
      }
      known.spentMs ??= Date.now()
      stats.renewals++
      return answer(200, issue())
    }
    const access = accesses.get(request.headers.authorization?.replace('Bearer ', '') ?? '')
    if (!access || access.untilMs < Date.now()) return answer(401, { error: 'invalid_token' })
    if (!access.isUsed) stats.expiries++
    access.isUsed = true
    return answer(200, { ok: true })
  })
  await new Promise<void>(resolve => listener.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    stats,
    signIn: issue,
    close() {
      listener.close()
      listener.closeAllConnections()
    },
  }
}
