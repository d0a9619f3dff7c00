import type { ServerResponse } from 'node:http'
import { createSession } from 'latchkey'
import { type DevicePrompt, deviceCode } from 'latchkey/oauth'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { OAuthProvider } from '../../demo/oauth/provider.ts'
import { causeOf, failureOf, startProvider } from './setup.ts'
import { createUser } from './user.ts'

const grantType = 'urn:ietf:params:oauth:grant-type:device_code'
let server: OAuthProvider

beforeAll(async () => {
  server = await startProvider({
    clients: [
      {
        client_id: 'tv',
        token_endpoint_auth_method: 'none',
        redirect_uris: [],
        response_types: [],
        grant_types: [grantType, 'refresh_token'],
        application_type: 'native',
      },
    ],
  })
})
afterAll(() => server.close())
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
})
afterEach(() => {
  server.intercept = undefined
  vi.useRealTimers()
})

function createTv(onPrompt: (prompt: DevicePrompt) => unknown = () => {}) {
  return createSession({
    resources: server.issuer,
    grant: deviceCode({ issuer: server.issuer, clientId: 'tv', scope: 'openid offline_access', onPrompt }),
  })
}

const polls = () => server.requests.filter(({ path, method }) => path === '/token' && method === 'POST').length

/** Lets the time pass until the next poll was answered. */
async function passUntilPoll(ms: number): Promise<void> {
  const before = polls()
  await vi.advanceTimersByTimeAsync(ms)
  await vi.waitUntil(() => polls() > before, { interval: 1 })
  await settle()
}

/** Lets sockets do their work: their callbacks are no timers. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise(resolve => setImmediate(resolve))
}

async function agree({ verificationUriComplete = '' }: DevicePrompt, refuses = false): Promise<void> {
  await createUser({ redirectUri: 'none:', refuses, isDevice: true }).visit(verificationUriComplete)
}

/** Answers the next polls in place of the server. */
function answerPolls(...answers: ((response: ServerResponse) => unknown)[]): void {
  server.intercept = (request, response) => {
    if (request.url !== '/token') return false
    const answer = answers.shift()
    answer?.(response)
    return answer !== undefined
  }
}

const error = (code: string) => (response: ServerResponse) =>
  response.writeHead(400, { 'Content-Type': 'application/json' }).end(JSON.stringify({ error: code }))

async function start() {
  const prompts: DevicePrompt[] = []
  const session = createTv(prompt => prompts.push(prompt))
  const abort = new AbortController()
  const signingIn = session.signIn({ signal: abort.signal })
  signingIn.catch(() => {})
  await vi.waitUntil(() => prompts.length > 0, { interval: 1 })
  const [prompt] = prompts as [DevicePrompt]
  await settle()
  return { session, signingIn, prompt, abort }
}

describe('the device code grant (RFC 8628)', () => {
  test('tells the user where to go, and is signed in once they agreed', async () => {
    const { session, signingIn, prompt } = await start()
    expect(prompt.userCode).toMatch(/^[\w-]{8,}$/)
    expect(prompt.verificationUri).toBe(`${server.issuer}/device`)
    expect(prompt.verificationUriComplete).toContain('user_code=')
    expect(prompt.expiresAtMs - Date.now()).toBeGreaterThan(500_000)
    await passUntilPoll(5000)
    await agree(prompt)
    await passUntilPoll(5000)
    await signingIn
    expect(session.state).toMatchObject({ status: 'signed-in', claims: { sub: 'ada' } })
    expect(await session.renew()).toEqual({ how: 'renewed' })
  })

  test('asks every 5 s, and 5 s slower for good after slow_down', async () => {
    const { abort } = await start()
    answerPolls(error('authorization_pending'), error('slow_down'))
    const before = polls()
    await vi.advanceTimersByTimeAsync(4900)
    await settle()
    expect(polls()).toBe(before)
    await passUntilPoll(100)
    await passUntilPoll(5000)
    await vi.advanceTimersByTimeAsync(9900)
    await settle()
    expect(polls()).toBe(before + 2)
    await passUntilPoll(100)
    await vi.advanceTimersByTimeAsync(9900)
    await settle()
    expect(polls()).toBe(before + 3)
    await passUntilPoll(100)
    abort.abort()
  })

  test('goes on after a lost connection and a 503', async () => {
    const { session, signingIn, prompt } = await start()
    answerPolls(
      response => response.destroy(),
      response => response.writeHead(503).end(),
    )
    await passUntilPoll(5000)
    await passUntilPoll(5000)
    await agree(prompt)
    await passUntilPoll(5000)
    await signingIn
    expect(session.state.status).toBe('signed-in')
  })

  test('refused by the user is sign_in_cancelled', async () => {
    const { signingIn, prompt } = await start()
    await agree(prompt, true)
    await passUntilPoll(5000)
    const failure = await failureOf(signingIn)
    expect(failure.code).toBe('sign_in_cancelled')
    expect(causeOf(failure)).toBe('access_denied')
  })

  test('expired is sign_in_cancelled', async () => {
    const { signingIn, prompt } = await start()
    vi.setSystemTime(prompt.expiresAtMs)
    await vi.advanceTimersByTimeAsync(5000)
    const failure = await failureOf(signingIn)
    expect(failure.code).toBe('sign_in_cancelled')
    expect(causeOf(failure)).toBe('expired_token')
  })

  test('an onPrompt that throws fails the sign-in, and nobody polls', async () => {
    const thrown = new Error('no screen')
    const session = createTv(() => Promise.reject(thrown))
    const before = polls()
    const failure = await failureOf(session.signIn())
    expect(failure).toMatchObject({ code: 'sign_in_failed', cause: thrown })
    await vi.advanceTimersByTimeAsync(20_000)
    await settle()
    expect(polls()).toBe(before)
  })

  test('the caller’s abort ends the polling', async () => {
    const { signingIn, abort } = await start()
    abort.abort(new Error('changed my mind'))
    await expect(signingIn).rejects.toThrow('changed my mind')
    const before = polls()
    await vi.advanceTimersByTimeAsync(20_000)
    await settle()
    expect(polls()).toBe(before)
  })

  test.each([
    [
      'Google’s name of the URI, and no interval',
      { verification_url: 'https://example.com/device', expires_in: 900 },
      900,
    ],
    ['no lifetime', { verification_uri: 'https://example.com/device' }, 600],
  ])('takes an answer with %s', async (_, fields, seconds) => {
    const answer = JSON.stringify({ device_code: 'd', user_code: 'ABCD', ...fields })
    server.intercept = (request, response) => {
      if (request.url === '/token') error('authorization_pending')(response)
      else if (request.url?.startsWith('/device/'))
        response.writeHead(200, { 'Content-Type': 'application/json' }).end(answer)
      else return false
      return true
    }
    const { prompt, signingIn } = await start()
    expect(prompt.verificationUri).toBe('https://example.com/device')
    expect(Math.round((prompt.expiresAtMs - Date.now()) / 1000)).toBe(seconds)
    const before = polls()
    await passUntilPoll(5000)
    expect(polls()).toBe(before + 1)
    vi.setSystemTime(prompt.expiresAtMs)
    await vi.advanceTimersByTimeAsync(5000)
    expect(causeOf(await failureOf(signingIn))).toBe('expired_token')
  })

  test('an answer without a code is sign_in_failed', async () => {
    server.intercept = (request, response) => {
      if (!request.url?.startsWith('/device/')) return false
      response.writeHead(200, { 'Content-Type': 'text/html' }).end('<p>Log in to the hotel’s network')
      return true
    }
    const failure = await failureOf(createTv().signIn())
    expect(failure.code).toBe('sign_in_failed')
    expect(causeOf(failure)).toBe('device_code')
  })

  test('a signOut meanwhile is sign_in_cancelled, and nobody polls', async () => {
    const { session, signingIn } = await start()
    await session.signOut()
    expect((await failureOf(signingIn)).code).toBe('sign_in_cancelled')
    const before = polls()
    await vi.advanceTimersByTimeAsync(20_000)
    await settle()
    expect(polls()).toBe(before)
  })
})
