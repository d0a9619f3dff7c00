import { createSession } from 'latchkey'
import { type AppAuthLike, expoWebBrowser, reactNativeAppAuth } from 'latchkey/react-native'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OAuthProvider } from '../../demo/oauth/provider.ts'
import { secret } from '../support/no-leaks.ts'
import { causeOf, createApp, failureOf, startProvider } from './setup.ts'
import { createUser } from './user.ts'

let server: OAuthProvider
beforeAll(async () => {
  server = await startProvider()
})
afterAll(() => server.close())

describe('expoWebBrowser', () => {
  test('signs in by the authentication session of the system', async () => {
    const open = expoWebBrowser({
      openAuthSessionAsync: async (url, redirectUri) => ({
        type: 'success',
        url: await createUser({ redirectUri }).visit(url),
      }),
    })
    const { session } = createApp(server, { open })
    await session.signIn()
    expect(session.state.status).toBe('signed-in')
  })

  test.each(['cancel', 'dismiss'])('closed by the user (%s) it is sign_in_cancelled', async type => {
    const { session } = createApp(server, { open: expoWebBrowser({ openAuthSessionAsync: async () => ({ type }) }) })
    expect((await failureOf(session.signIn())).code).toBe('sign_in_cancelled')
  })

  test('an abort dismisses it', async () => {
    const abort = new AbortController()
    let isDismissed = false
    const open = expoWebBrowser({
      openAuthSessionAsync() {
        abort.abort(new Error('enough'))
        return new Promise(() => {})
      },
      dismissAuthSession() {
        isDismissed = true
      },
    })
    const { session } = createApp(server, { open })
    await expect(session.signIn({ signal: abort.signal })).rejects.toThrow('enough')
    expect(isDismissed).toBe(true)
  })
})

describe('reactNativeAppAuth', () => {
  const config = { issuer: 'https://login.example.com', clientId: 'app' }
  const tokens = (name: string) => ({
    accessToken: secret(`access-${name}`),
    accessTokenExpirationDate: new Date(Date.now() + 3_600_000).toISOString(),
    refreshToken: secret(`refresh-${name}`),
    tokenType: 'bearer',
    scopes: ['openid', 'read'],
  })
  const rejecting = (code: string, message: string) => Promise.reject(Object.assign(new Error(message), { code }))
  const createApp = (AppAuth: Partial<AppAuthLike<typeof config>>) =>
    createSession({
      resources: 'https://api.example.com',
      grant: reactNativeAppAuth(
        { authorize: async () => tokens('1'), refresh: async () => tokens('2'), ...AppAuth },
        config,
      ),
    })

  test('hands its tokens to the session, which owns renewal from then on', async () => {
    const spent: string[] = []
    const revoked: string[] = []
    const session = createApp({
      async refresh(given, { refreshToken }) {
        expect(given).toBe(config)
        spent.push(refreshToken)
        return tokens('2')
      },
      async revoke(_given, { tokenToRevoke }) {
        revoked.push(tokenToRevoke)
      },
    })
    await session.signIn()
    expect(session.state).toMatchObject({ status: 'signed-in', scope: 'openid read' })
    const { expiresAtMs = 0 } = session.state as { expiresAtMs?: number }
    expect(Math.abs(expiresAtMs - Date.now() - 3_600_000)).toBeLessThan(3000)
    await session.renew()
    expect(spent).toEqual([secret('refresh-1')])
    expect(await session.getAccessToken()).toBe(secret('access-2'))
    await session.signOut()
    expect(revoked).toEqual([secret('refresh-2')])
  })

  test.each([
    ['Android', 'authentication_failed', 'User cancelled flow'],
    ['iOS', 'authentication_failed', 'The operation couldn’t be completed. (org.openid.appauth.general error -3.)'],
  ])('closed by the user on %s it is sign_in_cancelled', async (_, code, message) => {
    const session = createApp({ authorize: () => rejecting(code, message) })
    expect((await failureOf(session.signIn())).code).toBe('sign_in_cancelled')
  })

  test('refused by the server it is sign_in_failed, without the description', async () => {
    const session = createApp({ authorize: () => rejecting('authentication_failed', 'access_denied: Ada said no') })
    const error = await failureOf(session.signIn())
    expect(error.code).toBe('sign_in_failed')
    expect(causeOf(error)).toBe('access_denied')
    expect(String((error.cause as Error).message)).not.toContain('Ada')
  })

  test.each([
    ['Android', 'invalid_grant', 'Token has been expired or revoked.'],
    ['iOS', 'token_refresh_failed', 'invalid_grant: Token has been expired or revoked.'],
  ])('a dead refresh token on %s is told from the network', async (_, code, message) => {
    const dead = createApp({ refresh: () => rejecting(code, message) })
    await dead.signIn()
    expect((await failureOf(dead.renew())).code).not.toBe('unreachable')
    const offline = createApp({ refresh: () => rejecting('token_refresh_failed', 'Network error') })
    await offline.signIn()
    expect((await failureOf(offline.renew())).code).toBe('unreachable')
    expect(offline.state.status).toBe('signed-in')
  })

  test('a view asks for its resource and scope', async () => {
    const asked: unknown[] = []
    const session = createApp({
      async refresh(given) {
        asked.push(given)
        return tokens('view')
      },
    })
    await session.signIn()
    await session.for({ resource: 'https://api.example.com/mail', scope: 'read' }).getAccessToken()
    expect(asked).toEqual([
      { ...config, scopes: ['read'], additionalParameters: { resource: 'https://api.example.com/mail' } },
    ])
  })
})
