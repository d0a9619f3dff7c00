import { type Browser, type BrowserContext, chromium, type Page } from 'playwright'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test, vi } from 'vitest'
import type { OAuthProvider } from '../../demo/oauth/provider.ts'
import { type AppServer, createAppServer } from './app-server.ts'
import { startProvider } from './setup.ts'

type Told = { value?: { appState?: unknown }; code?: string; cause?: string }

/** What the page of the app puts on its global. */
declare global {
  var create: (extra?: object) => import('../../src/index.ts').Session<unknown>
  var told: (promise: Promise<unknown>) => Promise<Told>
  var signIn: (input?: object) => Promise<Told>
  var signingIn: Promise<Told>
  var completed: Promise<Told[]>
  var issuer: string
}

let browser: Browser
let app: AppServer
let server: OAuthProvider
let context: BrowserContext
let needsNonce = false

// Browsers take their time on a machine that others use too.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 })

beforeAll(async () => {
  browser = await chromium.launch(inject('chromium'))
  app = await createAppServer()
  const origins = [app.origin, app.origin.replace('127.0.0.1', 'localhost')]
  server = await startProvider({
    allowedOrigins: origins,
    features: {
      pushedAuthorizationRequests: { enabled: true },
      dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => needsNonce },
    },
    clients: [
      {
        client_id: 'spa',
        token_endpoint_auth_method: 'none',
        redirect_uris: origins.map(origin => `${origin}/callback`),
        post_logout_redirect_uris: [`${app.origin}/`],
        grant_types: ['authorization_code', 'refresh_token'],
      },
    ],
  })
  app.issuer = server.issuer
})
afterAll(async () => {
  await browser.close()
  await app.close()
  await server.close()
})
beforeEach(async () => {
  context = await browser.newContext()
})
afterEach(async () => {
  server.intercept = undefined
  app.headers = {}
  needsNonce = false
  vi.useRealTimers()
  await context.close()
})

const tokenCalls = () => server.requests.filter(({ path, method }) => path === '/token' && method === 'POST').length

async function openApp(query = ''): Promise<Page> {
  const page = await context.newPage()
  await page.goto(`${app.origin}/${query}`)
  await ready(page)
  return page
}

const ready = (page: Page) => page.waitForFunction(() => document.title === 'ready')

async function leave(page: Page, input: object = {}): Promise<void> {
  await page.evaluate(input => void signIn(input), input)
  await page.waitForURL(/\/interaction\//)
}

async function login(page: Page, user = 'ada'): Promise<void> {
  await page.fill('[name=login]', user)
  await page.click('#yes')
  await page.waitForSelector('h1:has-text("Allow")')
}

async function comeBack(page: Page, button = '#yes'): Promise<Told[]> {
  await page.click(button)
  await page.waitForURL(/\/callback/)
  await ready(page)
  return page.evaluate(() => completed)
}

const stateOf = (page: Page) =>
  page.evaluate(async () => {
    await session.ready
    const { status, claims } = session.state as { status: string; claims?: { sub: string } }
    return [status, claims?.sub]
  })

describe('by redirect', () => {
  test('comes back signed in, with the state of the app, and a clean URL', async () => {
    const page = await openApp()
    await leave(page, { appState: { at: '/here' } })
    await login(page)
    expect(await comeBack(page)).toEqual([{ value: { appState: { at: '/here' } } }])
    expect(page.url()).toBe(`${app.origin}/callback`)
    expect(await stateOf(page)).toEqual(['signed-in', 'ada'])
    expect(await page.evaluate(() => Object.keys(sessionStorage).filter(key => key.includes('sign-in')))).toEqual([])
    await page.reload()
    await ready(page)
    expect(await page.evaluate(() => completed)).toEqual([{}])
    expect(await stateOf(page)).toEqual(['signed-in', 'ada'])
  })

  test('completed twice at once, as StrictMode does, it is one exchange with one result', async () => {
    const page = await openApp('?strict')
    await leave(page, { appState: 7 })
    await login(page)
    const before = tokenCalls()
    expect(await comeBack(page)).toEqual([{ value: { appState: 7 } }, { value: { appState: 7 } }])
    expect(tokenCalls()).toBe(before + 1)
    expect(await stateOf(page)).toEqual(['signed-in', 'ada'])
  })

  test('completed again by another session of the page while the exchange runs, it is one exchange', async () => {
    const page = await openApp('?strict=remount')
    await leave(page, { appState: 7 })
    await login(page)
    const before = tokenCalls()
    expect(await comeBack(page)).toEqual([{ value: { appState: 7 } }, { value: { appState: 7 } }])
    expect(tokenCalls()).toBe(before + 1)
    expect(await stateOf(page)).toEqual(['signed-in', 'ada'])
  })

  test('a redirect URI of another origin is misconfigured, by every way to open, before anything is shown', async () => {
    for (const open of ['redirect', 'popup', 'silent']) {
      const page = await openApp(`?open=${open}`)
      const told_ = await page.evaluate(() => told(create({ redirectUri: 'https://else.example.com/cb' }).signIn({})))
      expect(told_).toEqual({ code: 'misconfigured' })
      expect(page.url()).toBe(`${app.origin}/?open=${open}`)
      expect(context.pages()).toContain(page)
      await page.close()
    }
    expect(context.pages()).toEqual([])
  })

  test('an appState that is no JSON fails the sign-in, and says so', async () => {
    const page = await openApp()
    const error = await page.evaluate(() => {
      const cyclic: { self?: object } = {}
      cyclic.self = cyclic
      return create()
        .signIn({ appState: cyclic })
        .catch(({ code, message, retryable }) => ({ code, message, retryable }))
    })
    expect(error).toEqual({ code: 'sign_in_failed', message: expect.stringContaining('appState'), retryable: false })
    expect(page.url()).toBe(`${app.origin}/`)
  })

  test('consent refused is access_denied', async () => {
    const page = await openApp()
    await leave(page)
    await login(page)
    expect(await comeBack(page, '#no')).toEqual([{ code: 'sign_in_failed', cause: 'access_denied' }])
    expect(page.url()).toBe(`${app.origin}/callback`)
    expect(await stateOf(page)).toEqual(['signed-out', undefined])
  })

  test('a wrong state fails and sends nothing; own parameters and the hash stay', async () => {
    const before = tokenCalls()
    const page = await context.newPage()
    await page.goto(
      `${app.origin}/callback?own=%20a&error=1&errors=2&error_subcode=cancel&state=2&iss=x&session_state=y#hash`,
    )
    await ready(page)
    expect(await page.evaluate(() => completed)).toEqual([{ code: 'sign_in_failed', cause: 'state' }])
    expect(page.url()).toBe(`${app.origin}/callback?own=%20a&errors=2#hash`)
    expect(tokenCalls()).toBe(before)
  })

  test('a replayed answer is not sent again, and the session that is there stays', async () => {
    const page = await openApp()
    let answer = ''
    page.on('request', request => {
      if (request.url().includes('/callback?')) answer = request.url()
    })
    await leave(page)
    await login(page)
    await comeBack(page)
    const before = tokenCalls()
    await page.goto(answer)
    await ready(page)
    expect(await page.evaluate(() => completed)).toEqual([{ code: 'sign_in_failed', cause: 'state' }])
    expect(tokenCalls()).toBe(before)
    expect(await stateOf(page)).toEqual(['signed-in', 'ada'])
  })

  test('an expired code is invalid_grant', async () => {
    const page = await openApp()
    await leave(page)
    await login(page)
    server.intercept = ({ url, method }) => {
      if (url === '/token' && method === 'POST') vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 120_000 })
      return false
    }
    const [told] = await comeBack(page)
    expect(told?.code).toBe('sign_in_failed')
    expect(told?.cause).toContain('invalid_grant')
  })

  test('the back button: out of the login page one may sign in again, and never back into an old answer', async () => {
    const page = await openApp()
    await leave(page)
    await page.goBack()
    await ready(page)
    expect(await stateOf(page)).toEqual(['signed-out', undefined])
    await leave(page)
    await login(page)
    await comeBack(page)
    const before = tokenCalls()
    await page.goto(`${app.origin}/`)
    await ready(page)
    await page.goBack()
    await ready(page)
    expect(page.url()).toBe(`${app.origin}/callback`)
    expect(await stateOf(page)).toEqual(['signed-in', 'ada'])
    expect(tokenCalls()).toBe(before)
  })

  test('reloaded in mid-flight it is no sign-in, and a new one works', async () => {
    const page = await openApp()
    await leave(page)
    await login(page)
    let isHeld = false
    server.intercept = ({ url, method }) => {
      isHeld ||= url === '/token' && method === 'POST'
      return url === '/token' && method === 'POST'
    }
    await page.click('#yes')
    await page.waitForURL(/\/callback/)
    await vi.waitFor(() => expect(isHeld).toBe(true))
    server.intercept = undefined
    const before = tokenCalls()
    await page.reload()
    await ready(page)
    expect(await page.evaluate(() => completed)).toEqual([{}])
    expect(await stateOf(page)).toEqual(['signed-out', undefined])
    expect(tokenCalls()).toBe(before)
    await leave(page)
    await page.waitForSelector('h1:has-text("Allow")')
    await comeBack(page)
    expect(await stateOf(page)).toEqual(['signed-in', 'ada'])
  })

  test('two tabs that sign in at once do not mix', async () => {
    const [first, second] = [await openApp(), await openApp()]
    await leave(first, { appState: 1, prompt: 'login consent' })
    await leave(second, { appState: 2, prompt: 'login consent' })
    await login(first, 'ada')
    expect(await comeBack(first)).toEqual([{ value: { appState: 1 } }])
    await login(second, 'ada')
    expect(await comeBack(second)).toEqual([{ value: { appState: 2 } }])
    expect(await stateOf(first)).toEqual(['signed-in', 'ada'])
    expect(await stateOf(second)).toEqual(['signed-in', 'ada'])
  })

  test('two tabs with one storage that sign in at once: the one that is done last counts for both', async () => {
    const [first, second] = [await openApp('?storage=local'), await openApp('?storage=local')]
    await leave(first, { appState: 1, prompt: 'login consent' })
    await leave(second, { appState: 2, prompt: 'login consent' })
    let release = () => {}
    const isReleased = new Promise<void>(resolve => {
      release = resolve
    })
    await first.route('**/token', async route => {
      await isReleased
      await route.continue()
    })
    await login(first)
    const asked = first.waitForRequest('**/token')
    await first.click('#yes')
    await asked
    await login(second)
    expect(await comeBack(second)).toEqual([{ value: { appState: 2 } }])
    release()
    await ready(first)
    expect(await first.evaluate(() => completed)).toEqual([{ value: { appState: 1 } }])
    const token = await first.evaluate(() => session.getAccessToken())
    await vi.waitFor(async () => expect(await second.evaluate(() => session.getAccessToken())).toBe(token))
    expect(await second.evaluate(async () => (await session.fetch(`${issuer}/me`)).status)).toBe(200)
    const stored = await second.evaluate(() => JSON.parse(localStorage.getItem('latchkey:app') ?? '{}').generation)
    expect(stored).toBe(2)
  })

  test('shown again out of the page cache, the sign-in that left is over, and a new one works', async () => {
    const page = await openApp()
    // The page stays, as one does that the browser keeps; this browser keeps none.
    server.intercept = ({ url }, response) => {
      if (url?.startsWith('/auth')) response.writeHead(204).end()
      return !!url?.startsWith('/auth')
    }
    const asked = page.waitForResponse(response => response.status() === 204)
    await page.evaluate(() => void signIn())
    await asked
    await page.evaluate(() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })))
    expect(await page.evaluate(() => signingIn)).toMatchObject({ code: 'sign_in_cancelled' })
    server.intercept = undefined
    await leave(page)
    await login(page)
    await comeBack(page)
    expect(await stateOf(page)).toEqual(['signed-in', 'ada'])
  })

  test('signOut is over at once where the network is down, with endSession too', async () => {
    const page = await openApp()
    await leave(page)
    await login(page)
    await comeBack(page)
    await context.setOffline(true)
    const url = page.url()
    const [state, told_] = await page.evaluate(async () => {
      const leaving = told(session.signOut({ endSession: { postLogoutRedirectUri: location.origin } }))
      return [session.state, await leaving] as const
    })
    expect(state).toEqual({ status: 'signed-out', reason: 'requested' })
    expect(told_).toEqual({})
    expect(page.url()).toBe(url)
    await context.setOffline(false)
    await page.reload()
    await ready(page)
    expect(await stateOf(page)).toEqual(['signed-out', undefined])
  })

  test('signOut({ endSession }) ends the session at the server too, and comes back', async () => {
    const page = await openApp()
    await leave(page)
    await login(page)
    await comeBack(page)
    await page.evaluate(uri => void session.signOut({ endSession: { postLogoutRedirectUri: uri } }), `${app.origin}/`)
    await page.waitForURL(/session\/end/)
    await page.click('button[value=yes], button[type=submit]')
    await page.waitForURL(`${app.origin}/`)
    await ready(page)
    expect(await stateOf(page)).toEqual(['signed-out', undefined])
  })
})

describe('by popup', () => {
  async function openPopup(page: Page): Promise<Page> {
    const opening = page.waitForEvent('popup')
    await page.click('p')
    const shown = await opening
    await shown.waitForSelector('#yes')
    return shown
  }

  test('signs in, and the popup closes', async () => {
    const page = await openApp('?open=popup')
    const shown = await openPopup(page)
    await login(shown)
    await Promise.all([shown.waitForEvent('close'), shown.click('#yes')])
    expect(await page.evaluate(() => signingIn)).toEqual({ value: {} })
    expect(await stateOf(page)).toEqual(['signed-in', 'ada'])
  })

  test('goes on where the page looks for an answer meanwhile and has none', async () => {
    const page = await openApp('?open=popup')
    const shown = await openPopup(page)
    expect(await page.evaluate(() => told(session.completeSignIn()))).toEqual({ value: undefined })
    await login(shown)
    await Promise.all([shown.waitForEvent('close'), shown.click('#yes')])
    expect(await page.evaluate(() => signingIn)).toEqual({ value: {} })
  })

  test('consent refused is access_denied', async () => {
    const page = await openApp('?open=popup')
    const shown = await openPopup(page)
    await login(shown)
    await Promise.all([shown.waitForEvent('close'), shown.click('#no')])
    expect(await page.evaluate(() => signingIn)).toEqual({ code: 'sign_in_failed', cause: 'access_denied' })
  })

  test('closed by the user it is sign_in_cancelled', async () => {
    const page = await openApp('?open=popup')
    const shown = await openPopup(page)
    await shown.close()
    expect(await page.evaluate(() => signingIn)).toMatchObject({ code: 'sign_in_cancelled' })
  })

  test('closed while the metadata are still on their way it is sign_in_cancelled', async () => {
    const metadata = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).text()
    let release = () => {}
    const isHeld = new Promise<void>(held => {
      server.intercept = ({ url = '' }, response) => {
        if (!url.includes('well-known')) return false
        release = () => response.writeHead(200, { 'Access-Control-Allow-Origin': '*' }).end(metadata)
        held()
        return true
      }
    })
    const page = await openApp('?open=popup')
    const opening = page.waitForEvent('popup')
    await page.click('p')
    const shown = await opening
    await isHeld
    await shown.close()
    release()
    expect(await page.evaluate(() => signingIn)).toMatchObject({ code: 'sign_in_cancelled' })
  })

  test('blocked it is popup_blocked', async () => {
    const page = await openApp('?open=popup')
    await page.evaluate(() => {
      window.open = () => null
    })
    expect(await page.evaluate(() => signIn())).toMatchObject({ code: 'popup_blocked' })
  })

  test('severed by Cross-Origin-Opener-Policy and left alone it is sign_in_cancelled', async () => {
    server.intercept = (_request, response) => {
      response.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
      return false
    }
    const page = await openApp('?open=popup')
    await openPopup(page)
    expect(await page.evaluate(() => signingIn)).toMatchObject({ code: 'sign_in_cancelled' })
    expect(await stateOf(page)).toEqual(['signed-out', undefined])
  })

  test('severed by Cross-Origin-Opener-Policy it ends by itself: signed in or typed', async () => {
    server.intercept = (_request, response) => {
      response.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
      return false
    }
    const page = await openApp('?open=popup')
    // The user looks at the popup; here both pages have the focus.
    await page.evaluate(() => {
      document.hasFocus = () => false
      const { open } = window
      window.open = (...given) => {
        const shown = open(...given)
        Object.assign(globalThis, { shown })
        return shown
      }
    })
    const shown = await openPopup(page)
    await login(shown)
    expect(await page.evaluate(() => (globalThis as unknown as { shown: Window }).shown.closed)).toBe(true)
    await Promise.all([shown.waitForEvent('close'), shown.click('#yes')])
    expect(await page.evaluate(() => signingIn)).toEqual({ value: {} })
    expect(await stateOf(page)).toEqual(['signed-in', 'ada'])
  })

  test('nobody signs in: sign_in_cancelled after timeoutMs, and the popup is gone', async () => {
    const page = await openApp('?open=popup&timeout=500')
    const opening = page.waitForEvent('popup')
    await page.click('p')
    const shown = await opening
    const closed = shown.isClosed() || shown.waitForEvent('close')
    expect(await page.evaluate(() => signingIn)).toMatchObject({ code: 'sign_in_cancelled' })
    await closed
  })

  test('the caller’s abort closes it', async () => {
    const page = await openApp('?open=popup')
    const opening = page.waitForEvent('popup')
    await page.evaluate(() => {
      const abort = new AbortController()
      Object.assign(globalThis, { abort })
      void signIn({ signal: abort.signal })
    })
    const shown = await opening
    await shown.waitForSelector('#yes')
    const closed = shown.waitForEvent('close')
    await page.evaluate(() => (globalThis as unknown as { abort: AbortController }).abort.abort())
    await closed
  })
})

describe('silently', () => {
  test('signs in where the server knows the user, and leaves no frame', async () => {
    const page = await openApp()
    await leave(page)
    await login(page)
    await comeBack(page)
    await page.close()

    const other = await openApp('?open=silent&scope=openid')
    expect(await other.evaluate(() => signIn())).toEqual({ value: {} })
    expect(await stateOf(other)).toEqual(['signed-in', 'ada'])
    expect(await other.locator('iframe').count()).toBe(0)
  })

  test('is login_required where it does not', async () => {
    const page = await openApp('?open=silent&scope=openid')
    expect(await page.evaluate(() => signIn())).toEqual({ code: 'sign_in_failed', cause: 'login_required' })
    expect(await page.locator('iframe').count()).toBe(0)
  })
})

describe('silently, where it can’t work,', () => {
  test('a server of another site, whose cookie the browser hides from frames, is login_required', async () => {
    const page = await openApp()
    await leave(page)
    await login(page)
    await comeBack(page)
    await page.goto(`${app.origin.replace('127.0.0.1', 'localhost')}/?open=silent&scope=openid`)
    await ready(page)
    expect(await page.evaluate(() => signIn())).toEqual({ code: 'sign_in_failed', cause: 'login_required' })
  })

  test('a server that refuses frames is sign_in_cancelled after timeoutMs, and the frame is gone', async () => {
    server.intercept = ({ url }, response) => {
      if (!url?.startsWith('/auth')) return false
      response.writeHead(200, { 'Content-Type': 'text/html', 'X-Frame-Options': 'DENY' }).end('<p>Sign in')
      return true
    }
    const page = await openApp('?open=silent&scope=openid&timeout=500')
    expect(await page.evaluate(() => signIn())).toMatchObject({ code: 'sign_in_cancelled' })
    expect(await page.locator('iframe').count()).toBe(0)
  })
})

describe('with dpop()', () => {
  test('the key stays in the browser over a reload, nobody can read it, and renewals go on with it', async () => {
    const page = await openApp('?dpop')
    await leave(page)
    await login(page)
    expect(await comeBack(page)).toEqual([{ value: {} }])
    const call = () => page.evaluate(async () => (await session.fetch(`${issuer}/me`)).status)
    expect(await call()).toBe(200)
    await page.reload()
    await ready(page)
    expect(await page.evaluate(() => session.renew())).toEqual({ how: 'renewed' })
    expect(await call()).toBe(200)
    const isReadable = await page.evaluate(async () => {
      const opening = indexedDB.open('latchkey', 1)
      await new Promise(resolve => {
        opening.onsuccess = resolve
      })
      const asking = opening.result.transaction('keys').objectStore('keys').get('dpop')
      await new Promise(resolve => {
        asking.onsuccess = resolve
      })
      return asking.result.privateKey.extractable
    })
    expect(isReadable).toBe(false)
  })

  test('nonces across origins cost one request more where one is missing or stale, and no renewal', async () => {
    needsNonce = true
    const page = await openApp('?dpop')
    await leave(page)
    await login(page)
    const before = tokenCalls()
    expect(await comeBack(page)).toEqual([{ value: {} }])
    // The page is new and knows no nonce: one challenge (RFC 9449 §8).
    expect(tokenCalls()).toBe(before + 2)
    const calls = () => server.requests.filter(({ path, method }) => path === '/me' && method === 'GET').length
    const sent = calls()
    expect(await page.evaluate(async () => (await session.fetch(`${issuer}/me`)).status)).toBe(200)
    expect(calls()).toBe(sent + 1)
    expect(tokenCalls()).toBe(before + 2)
  })

  test('a browser that lost its key is signed out with the reason, asks nobody, and can sign in again', async () => {
    const page = await openApp('?dpop')
    await leave(page)
    await login(page)
    await comeBack(page)
    await page.evaluate(
      () =>
        new Promise(resolve => {
          indexedDB.deleteDatabase('latchkey').onsuccess = resolve
        }),
    )
    const before = server.requests.length
    await page.goto(`${app.origin}/`)
    await ready(page)
    expect(await page.evaluate(() => told(session.fetch(`${issuer}/me`)))).toMatchObject({ code: 'signed_out' })
    expect(await page.evaluate(() => session.state)).toEqual({ status: 'signed-out', reason: 'key_lost' })
    expect(server.requests.length).toBe(before)
    await leave(page)
    await page.waitForSelector('h1:has-text("Allow")')
    await comeBack(page)
    expect(await page.evaluate(async () => (await session.fetch(`${issuer}/me`)).status)).toBe(200)
  })

  test('a stolen token is useless elsewhere', async () => {
    const page = await openApp('?dpop')
    await leave(page)
    await login(page)
    await comeBack(page)
    const token = await page.evaluate(() => session.getAccessToken())
    for (const scheme of ['DPoP', 'Bearer']) {
      const response = await fetch(`${server.issuer}/me`, { headers: { Authorization: `${scheme} ${token}` } })
      expect(response.ok).toBe(false)
    }
  })
})
