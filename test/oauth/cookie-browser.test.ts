import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { type Browser, chromium, type Page } from 'playwright'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'

vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 })

/** A backend as docs/oauth.md asks for: the refresh token is a cookie that no script sees. */
let backend: Server
let origin: string
let browser: Browser
const sessions = new Map<string, string>()
const refused: string[] = []

const page = `<!doctype html><title>app</title><script type="module">
  import { createSession, cookieSession, webStorage } from '/latchkey.js'
  globalThis.session = createSession({
    resources: location.origin + '/api',
    storage: webStorage('local'),
    grant: cookieSession({
      refreshEndpoint: location.origin + '/session/refresh',
      signInEndpoint: location.origin + '/session/sign-in',
      signOutEndpoint: location.origin + '/session/sign-out',
    }),
  })
  await session.ready
  document.title = session.state.status
</script>`

beforeAll(async () => {
  const source = (entry: string) => JSON.stringify(fileURLToPath(new URL(`../../src/${entry}.ts`, import.meta.url)))
  const { outputFiles } = await build({
    stdin: {
      contents: `export * from ${source('index')}; export * from ${source('oauth')}`,
      resolveDir: fileURLToPath(new URL('.', import.meta.url)),
    },
    bundle: true,
    format: 'esm',
    write: false,
  })
  backend = createServer(async (request, response) => {
    const path = request.url ?? ''
    const answer = (status: number, body: object = {}, headers: Record<string, string> = {}) =>
      response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body))
    if (path === '/latchkey.js') {
      return void response.writeHead(200, { 'Content-Type': 'text/javascript' }).end(outputFiles[0]?.text)
    }
    if (path === '/api') return void answer([...sessions.values()].includes(bearerOf(request)) ? 200 : 401)
    if (!path.startsWith('/session/')) {
      return void response.writeHead(200, { 'Content-Type': 'text/html' }).end(page)
    }
    const [, cookie = ''] = /refresh=([\w-]+)/.exec(request.headers.cookie ?? '') ?? []
    if (request.headers['x-csrf'] !== '1') {
      refused.push(path)
      return void answer(403)
    }
    const give = () => {
      sessions.delete(cookie)
      const [refresh, access] = [randomUUID(), randomUUID()]
      sessions.set(refresh, access)
      const attributes = 'HttpOnly; SameSite=Strict; Path=/session'
      answer(200, { access_token: access, expires_in: 60 }, { 'Set-Cookie': `refresh=${refresh}; ${attributes}` })
    }
    if (path === '/session/sign-in') return give()
    if (path === '/session/refresh') return sessions.has(cookie) ? give() : void answer(401)
    sessions.delete(cookie)
    answer(200)
  }).listen(0, '127.0.0.1')
  await once(backend, 'listening')
  origin = `http://127.0.0.1:${(backend.address() as AddressInfo).port}`
  browser = await chromium.launch(inject('chromium'))
})
afterAll(async () => {
  await browser.close()
  backend.closeAllConnections()
  backend.close()
})

const bearerOf = (request: IncomingMessage) => request.headers.authorization?.replace('Bearer ', '') ?? ''

type WithSession = { session: import('../../src/index.ts').Session<unknown> }
const isIn = (page: Page) =>
  page.waitForFunction(() => document.title.startsWith('signed-'), undefined, { polling: 50 })

test('cookieSession in a browser: a reload signs in by itself, and no script can read the refresh token', async () => {
  const context = await browser.newContext()
  const page = await context.newPage()
  await page.goto(origin)
  await isIn(page)
  expect(await page.title()).toBe('signed-out')
  await page.evaluate(() => (globalThis as unknown as WithSession).session.signIn({ username: 'ada' }))
  await page.reload()
  await isIn(page)
  expect(await page.title()).toBe('signed-in')
  await page.evaluate(() => (globalThis as unknown as WithSession).session.renew())
  const status = () =>
    page.evaluate(async () => (await (globalThis as unknown as WithSession).session.fetch('/api')).status)
  expect(await status()).toBe(200)
  const readable = await page.evaluate(() => document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage }))
  const [[refresh] = ['']] = sessions
  expect(sessions.size).toBe(1)
  expect(readable).not.toContain(refresh)

  await page.evaluate(() => localStorage.clear())
  await page.reload()
  await isIn(page)
  expect(await page.title()).toBe('signed-in')
  expect(await status()).toBe(200)

  const before = [...sessions.keys()]
  const attacker = await context.newPage()
  await attacker.setContent(`<form method="post" action="${origin}/session/refresh"></form>`)
  await Promise.all([attacker.waitForURL(/refresh/), attacker.evaluate(() => document.forms[0]?.submit())])
  expect(refused).toEqual(['/session/refresh'])
  expect([...sessions.keys()]).toEqual(before)

  await page.evaluate(() => (globalThis as unknown as WithSession).session.signOut())
  await vi.waitFor(() => expect(sessions.size).toBe(0))
  await page.reload()
  await isIn(page)
  expect(await page.title()).toBe('signed-out')
})
