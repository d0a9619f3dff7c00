import { createSession } from 'latchkey'
import { loopback } from 'latchkey/node'
import { authorizationCode } from 'latchkey/oauth'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { OAuthProvider } from '../../demo/oauth/provider.ts'
import { failureOf, startProvider } from './setup.ts'
import { createUser } from './user.ts'

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

function createCli(openBrowser: OpenBrowser, options: { timeoutMs?: number } = {}) {
  return createSession({
    resources: server.issuer,
    grant: authorizationCode({
      issuer: server.issuer,
      clientId: 'cli',
      scope: 'openid offline_access',
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
})
