import { onTestFinished } from 'vitest'
import { createServer, type DemoServer, type ServerOptions } from '../../demo/server/server.ts'
import { secret } from '../support/no-leaks.ts'

export const adminKey = secret('the-administrator')

export interface TestClock {
  (): number
  advance(ms: number): void
}

/** Stands still until it is told to move on. */
export function testClock(): TestClock {
  let nowMs = Date.UTC(2030, 0, 1)
  return Object.assign(() => nowMs, {
    advance: (ms: number) => {
      nowMs += ms
    },
  })
}

export type TestServer = DemoServer & ReturnType<typeof calls>

/** A server with a demo user, which ends with the test. */
export async function startServer(options: ServerOptions = {}): Promise<TestServer> {
  const server = await startSharedServer(options)
  onTestFinished(() => server.close())
  return server
}

/** One that whoever starts it closes. */
export async function startSharedServer(options: ServerOptions = {}): Promise<TestServer> {
  const server = await createServer({ seed: true, adminKey, ...options })
  return { ...server, ...calls(server) }
}

export interface Tokens {
  access_token: string
  refresh_token: string
  expires_in: number
  scope: string
}

function calls({ origin, demoUser }: DemoServer) {
  const post = (path: string, init: RequestInit = {}) => fetch(`${origin}${path}`, { method: 'POST', ...init })
  const form = (path: string, fields: Record<string, string>, headers: Record<string, string> = {}) =>
    post(path, { body: new URLSearchParams(fields), headers })
  const json = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    post(path, { body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } })

  return {
    post,
    form,
    json,
    get: (path: string, headers: Record<string, string> = {}) => fetch(`${origin}${path}`, { headers }),
    signIn: async (fields: Record<string, string> = {}, headers: Record<string, string> = {}) => {
      const answer = await form(
        '/token',
        { grant_type: 'password', client_id: 'demo', ...demoUser, ...fields },
        headers,
      )
      return (await answer.json()) as Tokens
    },
    refresh: (refreshToken: string, fields: Record<string, string> = {}, headers: Record<string, string> = {}) =>
      form(
        '/token',
        { grant_type: 'refresh_token', client_id: 'demo', refresh_token: refreshToken, ...fields },
        headers,
      ),
    createClient: async (fields: object = {}) => {
      const answer = await json(
        '/clients',
        { name: 'a client', scopes: ['collect'], ...fields },
        { 'x-api-key': adminKey },
      )
      return (await answer.json()) as { client_id: string; client_secret: string }
    },
  }
}

export const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
export const basic = (id: string, password: string) => ({
  authorization: `Basic ${btoa(`${encodeURIComponent(id)}:${encodeURIComponent(password)}`)}`,
})

/** The tokens of an answer that has to be a success. */
export async function tokensOf(answer: Response): Promise<Tokens> {
  if (answer.status !== 200) throw new Error(`The status is ${answer.status}.`)
  return (await answer.json()) as Tokens
}

/** Status and error code: what most tests compare. */
export async function errorOf(answer: Response): Promise<[number, string]> {
  return [answer.status, ((await answer.json()) as { error: string }).error]
}
