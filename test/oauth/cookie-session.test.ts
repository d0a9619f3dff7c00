import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createSession, memoryStorage } from 'latchkey'
import { cookieSession } from 'latchkey/oauth'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { secret } from '../support/no-leaks.ts'
import { causeOf, failureOf } from './setup.ts'

/** A backend that keeps the refresh token in a cookie, and a browser's way to send it. */
async function createBackend() {
  let issued = 0
  const sessions = new Set<string>()
  const calls: { path: string; credentials: RequestCredentials | undefined; csrf: string | undefined }[] = []
  const cookies = new Map<string, string>()
  const listener = createServer(async (request, response) => {
    const cookie = /sid=(\w+)/.exec(request.headers.cookie ?? '')?.[1] ?? ''
    const json = (status: number, body: object, headers = {}) =>
      response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body))
    const tokens = () => ({
      access_token: secret(`access-${++issued}`),
      expires_in: 60,
      refresh_token: secret('refresh'),
    })
    if (backend.status) return void response.writeHead(backend.status).end()
    if (request.url === '/api') return json(200, {})
    if (!request.headers['x-csrf']) return json(403, { error: 'csrf' })
    if (request.url === '/sign-in') {
      const { password } = JSON.parse(await bodyOf(request))
      if (password !== secret('good')) return json(401, { error: 'wrong_password' })
      const id = `s${++issued}`
      sessions.add(id)
      return json(200, tokens(), { 'Set-Cookie': `sid=${id}; HttpOnly` })
    }
    if (request.url === '/sign-out') {
      sessions.delete(cookie)
      return json(200, {})
    }
    return sessions.has(cookie) ? json(200, tokens()) : json(401, {})
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const origin = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`
  const backend = {
    origin,
    calls,
    sessions,
    status: 0,
    paths: () => calls.map(({ path }) => path),
    async fetch(input: RequestInfo | URL, init: RequestInit = {}) {
      const headers = new Headers(init.headers)
      const path = new URL(String(input)).pathname
      calls.push({ path, credentials: init.credentials, csrf: headers.get('x-csrf') ?? undefined })
      if (init.credentials === 'include') headers.set('cookie', [...cookies].map(pair => pair.join('=')).join('; '))
      const response = await fetch(input, { ...init, headers })
      const [, id] = /sid=(\w+)/.exec(response.headers.get('set-cookie') ?? '') ?? []
      if (id) cookies.set('sid', id)
      return response
    },
    async close() {
      listener.closeAllConnections()
      listener.close()
      await once(listener, 'close')
    },
  }
  return backend
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const part of request) text += part
  return text
}

let backend: Awaited<ReturnType<typeof createBackend>>
beforeEach(async () => {
  backend = await createBackend()
})
afterEach(() => backend.close())

function createPage(storage = memoryStorage()) {
  return createSession({
    resources: `${backend.origin}/api`,
    storage,
    fetch: backend.fetch as typeof fetch,
    grant: cookieSession({
      refreshEndpoint: `${backend.origin}/refresh`,
      signInEndpoint: `${backend.origin}/sign-in`,
      signOutEndpoint: `${backend.origin}/sign-out`,
    }),
  })
}

describe('cookieSession', () => {
  test('signs in with a password, sends the cookie and the CSRF header, keeps no refresh token', async () => {
    const storage = memoryStorage()
    const session = createPage(storage)
    await session.ready
    await session.signIn({ password: secret('good') })
    expect(session.state.status).toBe('signed-in')
    expect(backend.calls.at(-1)).toEqual({ path: '/sign-in', credentials: 'include', csrf: '1' })
    await session.renew()
    expect(backend.calls.at(-1)).toEqual({ path: '/refresh', credentials: 'include', csrf: '1' })
    expect(String(storage.getItem(`latchkey:${new URL(backend.origin).host}`))).not.toContain(secret('refresh'))
  })

  test('a reload signs in by itself, and ready waits for it', async () => {
    await createPage().signIn({ password: secret('good') })
    backend.calls.length = 0
    const reloaded = createPage()
    await reloaded.ready
    expect(reloaded.state.status).toBe('signed-in')
    expect((await reloaded.fetch(`${backend.origin}/api`)).status).toBe(200)
    expect(backend.paths()).toEqual(['/refresh', '/api'])
  })

  test('without a cookie a reload is signed out, after one question', async () => {
    const session = createPage()
    await session.ready
    expect(session.state.status).toBe('signed-out')
    expect(backend.paths()).toEqual(['/refresh'])
  })

  test('a wrong password is sign_in_failed', async () => {
    const error = await failureOf(createPage().signIn({ password: secret('bad') }))
    expect(error).toMatchObject({ code: 'sign_in_failed', retryable: false })
    expect(causeOf(error)).toContain('401')
  })

  test('a 503 at a renewal is unreachable and keeps the session', async () => {
    const session = createPage()
    await session.signIn({ password: secret('good') })
    backend.status = 503
    expect((await failureOf(session.renew())).code).toBe('unreachable')
    expect(session.state.status).toBe('signed-in')
  })

  test('a signOut is not undone by the cookie, until signIn', async () => {
    const storage = memoryStorage()
    const session = createPage(storage)
    await session.signIn({ password: secret('good') })
    await session.signOut({ revoke: false })
    const before = backend.calls.length
    expect((await failureOf(session.fetch(`${backend.origin}/api`))).code).toBe('signed_out')
    const reloaded = createPage(storage)
    await reloaded.ready
    expect(reloaded.state.status).toBe('signed-out')
    expect(backend.calls.length).toBe(before)
    await reloaded.signIn(undefined)
    expect(reloaded.state.status).toBe('signed-in')
  })

  test('signOut forgets the cookie at the backend', async () => {
    const session = createPage()
    await session.signIn({ password: secret('good') })
    await session.signOut()
    await vi.waitFor(() => expect(backend.sessions.size).toBe(0))
  })

  test('a backend that hangs fails the sign-in after 30 s, for now', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const session = createSession({
      resources: 'https://api.example.com',
      fetch: (input => (String(input).endsWith('sign-in') ? new Promise(() => {}) : Response.error())) as typeof fetch,
      grant: cookieSession({
        refreshEndpoint: 'https://app.example.com/refresh',
        signInEndpoint: 'https://app.example.com/sign-in',
      }),
    })
    const failing = failureOf(session.signIn({ password: secret('good') }))
    await vi.advanceTimersByTimeAsync(30_000)
    expect(await failing).toMatchObject({ code: 'sign_in_failed', retryable: true })
  })

  test('a view asks for its resource and scope', async () => {
    const bodies: unknown[] = []
    const session = createSession({
      resources: 'https://api.example.com',
      grant: cookieSession({ refreshEndpoint: 'https://app.example.com/refresh' }),
      async fetch(_input, init) {
        bodies.push(init?.body && JSON.parse(String(init.body)))
        return Response.json({ access_token: secret(`access-${bodies.length}`), expires_in: 60 })
      },
    })
    await session.ready
    const target = { resource: 'https://api.example.com/mail', scope: 'read' }
    expect(await session.for(target).getAccessToken()).toBe(secret('access-2'))
    expect(await session.getAccessToken()).toBe(secret('access-1'))
    expect(bodies).toEqual([undefined, target])
  })
})
