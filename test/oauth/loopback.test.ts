import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { createSession } from 'latchkey'
import { loopback } from 'latchkey/node'
import { authorizationCode } from 'latchkey/oauth'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { OAuthProvider } from '../../demo/oauth/provider.ts'
import { failureOf, startProvider } from './setup.ts'
import { createUser } from './user.ts'

// Programs of their own start here.
vi.setConfig({ testTimeout: 30_000 })

let server: OAuthProvider

beforeAll(async () => {
  server = await startProvider({
    clients: [
      {
        client_id: 'cli',
        token_endpoint_auth_method: 'none',
        redirect_uris: ['http://127.0.0.1/callback'],
        grant_types: ['authorization_code', 'refresh_token'],
        application_type: 'native',
      },
    ],
  })
})
afterAll(() => server.close())

type OpenBrowser = (url: string, redirectUri: string) => unknown

type CliOptions = { timeoutMs?: number; redirectUri?: string }

function createCli(openBrowser: OpenBrowser, { redirectUri, ...options }: CliOptions = {}) {
  return createSession({
    resources: server.issuer,
    grant: authorizationCode({
      issuer: server.issuer,
      clientId: 'cli',
      scope: 'openid offline_access',
      ...(redirectUri && { redirectUri }),
      open: loopback({
        openBrowser: url => openBrowser(url, new URL(url).searchParams.get('redirect_uri') ?? ''),
        ...options,
      }),
    }),
  })
}

const isGone = (redirectUri: string) =>
  fetch(redirectUri).then(
    () => false,
    () => true,
  )

describe('loopback() (RFC 8252)', () => {
  test('signs in on a free port of 127.0.0.1 that listens before the browser opens, and is gone afterwards', async () => {
    let own = ''
    let page: Response | undefined
    let text = ''
    const session = createCli(async (url, redirectUri) => {
      own = redirectUri
      // What is no answer is ignored: a favicon, a guess, a foreign state.
      for (const path of ['/favicon.ico', '/callback', '/callback?code=1&state=another']) {
        expect((await fetch(new URL(path, redirectUri))).status).toBe(404)
      }
      page = await fetch(await createUser({ redirectUri }).visit(url))
      text = await page.text()
    })
    await session.signIn()
    expect(own).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/callback$/)
    expect(session.state.status).toBe('signed-in')
    await vi.waitFor(() => expect(text).toContain('close this page'))
    expect(text).not.toMatch(/code|state|iss/i)
    await vi.waitFor(async () => expect(await isGone(own)).toBe(true))
  })

  test('whatever else is sent to the port neither ends the sign-in nor the program', async () => {
    const session = createCli(async (url, redirectUri) => {
      for (const line of ['GET // HTTP/1.1', 'GET http:// HTTP/1.1', 'GET /callback?% HTTP/1.1', 'nonsense']) {
        const socket = connect(Number(new URL(redirectUri).port), '127.0.0.1')
        socket.end(`${line}\r\nHost: x\r\nConnection: close\r\n\r\n`)
        socket.resume()
        await once(socket, 'close')
      }
      const answer = await createUser({ redirectUri }).visit(url)
      expect((await fetch(answer, { method: 'POST' })).status).toBe(404)
      await fetch(answer)
    })
    await session.signIn()
    expect(session.state.status).toBe('signed-in')
  })

  test('a connection that the browser opened ahead does not hold the program', async () => {
    let closed: Promise<unknown> | undefined
    const session = createCli(async (url, redirectUri) => {
      const socket = connect(Number(new URL(redirectUri).port), '127.0.0.1')
      await once(socket, 'connect')
      closed = once(socket, 'close')
      await fetch(await createUser({ redirectUri }).visit(url))
    })
    await session.signIn()
    await closed
  })

  test('a port that is taken fails the sign-in', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as import('node:net').AddressInfo
    const session = createCli(() => {}, { redirectUri: `http://127.0.0.1:${port}/callback` })
    const error = await failureOf(session.signIn())
    expect(error).toMatchObject({ code: 'sign_in_failed', cause: { code: 'EADDRINUSE' } })
    other.close()
  })

  test.each([
    'https://127.0.0.1/callback',
    'http://app.example.com/callback',
    'http://127.0.0.1.example.com',
    'app://cb',
  ])('the redirect URI %s is misconfigured', async redirectUri => {
    expect((await failureOf(createCli(() => {}, { redirectUri }).signIn())).code).toBe('misconfigured')
  })

  test('two at once have a port each', async () => {
    const ports: string[] = []
    const open: OpenBrowser = async (url, redirectUri) => {
      ports.push(redirectUri)
      await vi.waitFor(() => expect(ports).toHaveLength(2))
      await fetch(await createUser({ redirectUri }).visit(url))
    }
    await Promise.all([createCli(open).signIn(), createCli(open).signIn()])
    expect(new Set(ports).size).toBe(2)
  })

  test('a browser that does not open fails the sign-in, and the port is gone', async () => {
    let own = ''
    const thrown = new Error('no display')
    const session = createCli((_url, redirectUri) => {
      own = redirectUri
      throw thrown
    })
    expect(await failureOf(session.signIn())).toMatchObject({ code: 'sign_in_failed', cause: thrown })
    await vi.waitFor(async () => expect(await isGone(own)).toBe(true))
  })

  test('Ctrl-C, a time-out, an abort and a signOut end it, and the port is gone', async () => {
    const ends: [string, (session: ReturnType<typeof createCli>, abort: AbortController) => unknown][] = [
      ['sign_in_cancelled', () => process.emit('SIGINT')],
      ['sign_in_cancelled', session => session.signOut()],
      ['AbortError', (_session, abort) => abort.abort()],
      ['sign_in_cancelled', () => {}],
    ]
    for (const [code, end] of ends) {
      let own = ''
      const abort = new AbortController()
      const isTimeout = ends.at(-1)?.[1] === end
      const session = createCli(
        (_url, redirectUri) => {
          own = redirectUri
          end(session, abort)
        },
        isTimeout ? { timeoutMs: 1 } : {},
      )
      const error = await session.signIn({ signal: abort.signal }).catch(error => error)
      expect(error.code === code || error.name === code).toBe(true)
      await vi.waitFor(async () => expect(await isGone(own)).toBe(true))
    }
    expect(process.listenerCount('SIGINT')).toBe(0)
  })

  test('Ctrl-C in a program of its own: sign_in_cancelled, the port is gone, and the program ends by itself', async () => {
    const source = (path: string) => JSON.stringify(new URL(`../../src/${path}.ts`, import.meta.url).href)
    const program = `
      import { createSession } from ${source('index')}
      import { loopback } from ${source('node')}
      import { authorizationCode } from ${source('oauth')}
      const open = loopback({ openBrowser: url => console.log(new URL(url).searchParams.get('redirect_uri')) })
      const grant = authorizationCode({ issuer: '${server.issuer}', clientId: 'cli', scope: 'openid', open })
      await createSession({ resources: '${server.issuer}', grant }).signIn().catch(error => console.log(error.code))`
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', text => {
      output += text
    })
    const ended = once(child, 'exit')
    await vi.waitUntil(() => output.includes('/callback'), { timeout: 10_000 })
    child.kill('SIGINT')
    expect(await ended).toEqual([0, null])
    const [own = '', code] = output.split('\n')
    expect(code).toBe('sign_in_cancelled')
    expect(await isGone(own)).toBe(true)
  })
})
