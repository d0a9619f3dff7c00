import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createSession, type StepUpRequest } from 'latchkey'
import { authorizationCode, introspect } from 'latchkey/oauth'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OAuthProvider } from '../../demo/oauth/provider.ts'
import { clients, failureOf, redirectUri, secrets, startProvider } from './setup.ts'
import { createUser } from './user.ts'

let server: OAuthProvider
let api: Server
let origin: string
const seen: { user: unknown; status: number }[] = []

beforeAll(async () => {
  server = await startProvider({ clients })
  // A resource server: it asks about each token (RFC 7662) and wants the scope write (RFC 6750 §3.1).
  api = createServer(async (request, response) => {
    const token = request.headers.authorization?.replace('Bearer ', '') ?? ''
    const known = await introspect(token, { issuer: server.issuer, clientId: 'basic', clientSecret: secrets.basic })
    const mayWrite = known.scope?.split(' ').includes('write')
    const status = !known.active ? 401 : mayWrite ? 200 : 403
    seen.push({ user: known.sub, status })
    const challenge = status === 403 && { 'WWW-Authenticate': 'Bearer error="insufficient_scope", scope="write"' }
    response.writeHead(status, { ...challenge }).end()
  }).listen(0, '127.0.0.1')
  await once(api, 'listening')
  origin = `http://127.0.0.1:${(api.address() as AddressInfo).port}`
})
afterAll(async () => {
  api.closeAllConnections()
  api.close()
  await server.close()
})

function createApp(logins: string[]) {
  seen.length = 0
  const told: StepUpRequest[] = []
  const session = createSession({
    resources: origin,
    grant: authorizationCode({
      issuer: server.issuer,
      clientId: 'app',
      scope: 'openid offline_access read',
      redirectUri,
      open: url => createUser({ redirectUri, login: logins.shift() ?? '' }).visit(url),
    }),
    async onStepUp(request) {
      told.push(request)
      await session.signIn({ scope: `openid offline_access read ${request.scope}` })
      return true
    },
  })
  return { session, told }
}

describe('step-up by a sign-in with more scope', () => {
  test('sends the request once more with the new token, with its body', async () => {
    const { session, told } = createApp(['ada', 'ada'])
    await session.signIn()
    const request = { method: 'POST', body: 'x' }
    const answers = [await session.fetch(`${origin}/write?secret=1`, request), await session.fetch(origin, request)]
    expect(answers.map(({ status }) => status)).toEqual([200, 200])
    expect(told).toEqual([{ url: `${origin}/write`, scope: 'write' }])
    expect(seen.map(({ status }) => status)).toEqual([403, 200, 200])
  })

  test('as somebody else, rejects signed_out: no request of one user goes out with the token of another', async () => {
    const { session } = createApp(['ada', 'grace'])
    await session.signIn()
    const error = await failureOf(session.fetch(origin))
    expect(error.code).toBe('signed_out')
    expect(seen).toEqual([{ user: 'ada', status: 403 }])
  })
})
