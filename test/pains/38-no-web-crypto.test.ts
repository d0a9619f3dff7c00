import { createSession, isSessionError } from 'latchkey'
import { authorizationCode, clientSecretJwt, dpop, privateKeyJwt } from 'latchkey/oauth'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { secret } from '../support/no-leaks.ts'

// A page on http://192.168.x.x, React Native, an old WebView.
beforeEach(() => vi.stubGlobal('crypto', { getRandomValues: crypto.getRandomValues.bind(crypto) }))
afterEach(() => vi.unstubAllGlobals())

describe('pain 38: crypto.subtle is not there', () => {
  test('a session needs none', async () => {
    const session = createSession({
      resources: 'https://api.example.com',
      fetch: (async () => new Response('ok')) as typeof fetch,
      grant: async () => ({ access_token: secret('renewed') }),
    })
    await session.adopt({ access_token: secret('first'), expires_in: 3600 })
    expect((await session.fetch('https://api.example.com/')).status).toBe(200)
    await session.renew()
    expect(await session.getAccessToken()).toBe(secret('renewed'))
  })

  test('nor one where there is no crypto at all', async () => {
    vi.stubGlobal('crypto', undefined)
    const session = createSession({
      resources: 'https://api.example.com',
      grant: async () => ({ access_token: secret('renewed') }),
    })
    await session.adopt({ access_token: secret('first') })
    expect(session.state.status).toBe('signed-in')
  })

  test.each<[string, () => unknown]>([
    ['dpop', () => dpop()],
    ['privateKeyJwt', () => privateKeyJwt({} as CryptoKey)],
    ['clientSecretJwt', () => clientSecretJwt(secret('client'))],
    ['authorizationCode', () => authorizationCode({ issuer: 'https://login.example.com', clientId: 'app' })],
  ])('%s says so at once, and names it', (name, create) => {
    let thrown: unknown
    try {
      create()
    } catch (error) {
      thrown = error
    }
    expect(isSessionError(thrown) && thrown.code).toBe('misconfigured')
    expect((thrown as Error).message).toContain('crypto.subtle')
    expect((thrown as Error).message).toContain(name)
  })

  test('dpop takes one that is passed in', async () => {
    vi.unstubAllGlobals()
    const { subtle } = crypto
    vi.stubGlobal('crypto', undefined)
    expect(await dpop({ crypto: subtle }).thumbprint()).toMatch(/^[\w-]{43}$/)
  })
})
