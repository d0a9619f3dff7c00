import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  createSession,
  encryptedStorage,
  memoryStorage,
  refreshTokenGrant,
  type TokenStorage,
} from '../../src/index.ts'
import { createSessions } from '../../src/node.ts'
import { secret } from '../support/no-leaks.ts'
import { createTabServer, type TabServer } from '../tabs/tab-server.ts'

let server: TabServer
beforeEach(async () => {
  server = await createTabServer()
})
afterEach(() => server.close())

/** The cookies of one request, and what its response sets. */
function createRequest(cookie: string | undefined) {
  const cookies = new Map(cookie === undefined ? [] : [['record', cookie]])
  const set = new Map<string, string>()
  return {
    set,
    storage: (readOnly = false): TokenStorage => ({
      scope: 'context',
      readOnly,
      getItem: () => cookies.get('record'),
      setItem(_key, value) {
        if (readOnly) throw new Error('Cookies can not be set here.')
        cookies.set('record', value)
        set.set('record', value)
      },
      removeItem() {
        throw new Error('Nobody signs out here.')
      },
    }),
  }
}

const key = new Uint8Array(32).fill(7)
const sessionOf = (storage: TokenStorage) =>
  createSession({
    resources: server.origin,
    name: 'alice',
    storage: encryptedStorage(storage, key),
    renewal: { minIntervalMs: 0 },
    grant: refreshTokenGrant({ tokenEndpoint: `${server.origin}/token`, clientId: 'web' }),
  })

/** A cookie that a sign-in left, whose access token lives for so long. */
async function signedIn(expiresIn: number): Promise<string> {
  const request = createRequest(undefined)
  const response = await (await fetch(`${server.origin}/sign-in`)).json()
  await sessionOf(request.storage()).adopt({ ...response, expires_in: expiresIn })
  return request.set.get('record') as string
}
const call = (session: { fetch: typeof fetch }) => session.fetch(`${server.origin}/api`).then(({ status }) => status)

describe('6: a server component, which can not set cookies,', () => {
  it('gets the token at hand, and where a new one is needed `read_only`: the refresh token is not sent', async () => {
    const cookie = await signedIn(3600)
    const fresh = sessionOf(createRequest(cookie).storage(true))
    expect(await call(fresh)).toBe(200)
    await expect(fresh.renew()).rejects.toMatchObject({ code: 'read_only', retryable: false })
    expect(await call(fresh)).toBe(200)
    server.expireAccess()
    await expect(call(fresh)).rejects.toMatchObject({ code: 'read_only', challenge: { status: 401 } })
    const dead = sessionOf(createRequest(await signedIn(0)).storage(true))
    await expect(dead.getAccessToken()).rejects.toMatchObject({ code: 'read_only' })
    expect(dead.state.status).toBe('signed-in')
    expect(server.stats).toMatchObject({ tokenCalls: 0, refused: 0 })
  })
})

describe('6: a request whose response can set them,', () => {
  it('makes one token call and sets one cookie for its eight loaders, and who comes later in it reads the new token', async () => {
    const request = createRequest(await signedIn(0))
    const session = sessionOf(request.storage())
    expect(await Promise.all(Array.from({ length: 8 }, () => call(session)))).toEqual(Array(8).fill(200))
    expect(server.stats).toMatchObject({ tokenCalls: 1, refused: 0 })
    expect([...request.set.keys()]).toEqual(['record'])
    // A server component of the same request.
    const later = sessionOf(request.storage(true))
    expect(await later.getAccessToken()).toBe(await session.getAccessToken())
    expect(await call(later)).toBe(200)
    // The next request, with the cookie that the browser got.
    const next = sessionOf(createRequest(request.set.get('record')).storage())
    expect(await call(next)).toBe(200)
    expect(server.stats).toMatchObject({ tokenCalls: 1, refused: 0 })
  })
})

describe('6: requests of one user side by side, by a pool,', () => {
  it('make one token call in whatever order they end, and the newest record stays', async () => {
    const storage = memoryStorage()
    const sessions = createSessions({
      resources: server.origin,
      storage,
      renewal: { minIntervalMs: 0 },
      grant: refreshTokenGrant({ tokenEndpoint: `${server.origin}/token`, clientId: 'web' }),
    })
    await sessions.for('alice').adopt(await (await fetch(`${server.origin}/sign-in`)).json())
    const generations: number[] = []
    for (let round = 1; round <= 5; round++) {
      server.expireAccess()
      server.delayTokensMs = round % 2 ? 20 : 0
      expect(await Promise.all(Array.from({ length: 8 }, () => call(sessions.for('alice'))))).toEqual(
        Array(8).fill(200),
      )
      expect(server.stats).toMatchObject({ tokenCalls: round, refused: 0 })
      const { generation, tokens } = JSON.parse(String(await storage.getItem('latchkey:alice')))
      expect(tokens.accessToken).toBe(secret(`access-${round + 1}`))
      generations.push(generation)
    }
    expect(generations).toEqual([...generations].sort((a, b) => a - b))
    expect(new Set(generations).size).toBe(5)
  })
})
