import { afterEach, describe, expect, it, vi } from 'vitest'
import { createSession, memoryStorage, passwordGrant, refreshTokenGrant, type TokenStorage } from '../../src/index.ts'
import { createClock, createStrictServer, tokenEndpoint } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { recordEvents, settle } from './support.ts'

afterEach(() => void vi.restoreAllMocks())

const url = 'https://api.example.com/items'
const resources = 'https://api.example.com'

function setUp(storage: TokenStorage) {
  const clock = createClock()
  const server = createStrictServer({ clock })
  const spent: (string | undefined)[] = []
  const make = (name?: string) => {
    const session = createSession({
      resources,
      storage,
      clock,
      ...(name !== undefined && { name }),
      lock: { request: async (_name, _options, callback) => callback({}) },
      channel: { postMessage() {}, addEventListener() {}, removeEventListener() {}, close() {} },
      grant: async ({ refreshToken }) => {
        spent.push(refreshToken)
        await settle()
        const tokens = server.rotate(refreshToken)
        if (!tokens) throw Response.json({ error: 'invalid_grant' }, { status: 400 })
        return tokens
      },
      fetch: server.fetch,
    })
    return { session, events: recordEvents(session) }
  }
  return { clock, server, spent, make }
}

function sharedStorage(): TokenStorage & { keys(): string[] } {
  const items = new Map<string, string>()
  return {
    scope: 'shared',
    getItem: key => items.get(key),
    setItem: (key, value) => void items.set(key, value),
    removeItem: key => void items.delete(key),
    keys: () => [...items.keys()],
  }
}

describe('pain 48: two sessions on one storage and one key in a realm', () => {
  it.each([
    ['memory', memoryStorage],
    ['a storage that others share', sharedStorage],
  ])('are one in %s: the state, the renewal, the sign-out; no warning', async (_what, makeStorage) => {
    const warnings = (['log', 'info', 'warn', 'error'] as const).map(method => vi.spyOn(console, method))
    const { clock, server, make } = setUp(makeStorage())
    const [a, b] = [make(), make()]
    await a.session.adopt(server.signIn())
    await b.session.ready
    expect(b.session.state).toMatchObject({ status: 'signed-in' })
    clock.advance(301_000)
    const calls = [a, b].flatMap(({ session }) => [session.fetch(url), session.getAccessToken(), session.renew()])
    await Promise.all(calls)
    expect(server.stats).toMatchObject({ renewals: 1, reuses: 0 })
    expect(await a.session.getAccessToken()).toBe(await b.session.getAccessToken())
    await b.session.signOut()
    expect(a.session.state.status).toBe('signed-out')
    await a.session.adopt(server.signIn())
    expect(await b.session.getAccessToken()).toBe(await a.session.getAccessToken())
    expect([...a.events, ...b.events].filter(event => event.startsWith('degraded'))).toEqual([])
    for (const warning of warnings) expect(warning).not.toHaveBeenCalled()
  })
})

describe('pain 48: two sessions on one storage and different keys', () => {
  it.each([
    ['names', ['alice', 'bob']],
    ['no name and a name', [undefined, 'bob']],
  ] as const)('(%s) have nothing in common', async (_what, names) => {
    const storage = sharedStorage()
    const { clock, server, spent, make } = setUp(storage)
    const [a, b] = names.map(name => make(name)) as [ReturnType<typeof make>, ReturnType<typeof make>]
    const [alice, bob] = [server.signIn(), server.signIn()]
    await Promise.all([a.session.adopt(alice), b.session.adopt(bob)])
    expect(new Set(storage.keys()).size).toBe(2)
    clock.advance(301_000)
    const answers = await Promise.all([a.session.renew(), b.session.renew()])
    expect(answers).toEqual([{ how: 'renewed' }, { how: 'renewed' }])
    expect(spent.sort()).toEqual([alice.refresh_token, bob.refresh_token].sort())
    expect(await a.session.getAccessToken()).not.toBe(await b.session.getAccessToken())
    await a.session.signOut()
    expect(b.session.state.status).toBe('signed-in')
    expect((await b.session.fetch(url)).status).toBe(200)
    expect(b.events).toEqual(['signed-in', 'renewed'])
  })

  it('nor have two of one name on storages of their own', async () => {
    const [first, second] = [setUp(sharedStorage()), setUp(sharedStorage())]
    const [a, b] = [first.make('one'), second.make('one')]
    await a.session.adopt(first.server.signIn())
    expect(b.session.state).toEqual({ status: 'signed-out' })
    await b.session.adopt(second.server.signIn())
    for (const { clock } of [first, second]) clock.advance(301_000)
    await Promise.all([a.session.renew(), b.session.renew()])
    expect([first.server.stats.renewals, second.server.stats.renewals]).toEqual([1, 1])
    await a.session.signOut()
    expect(b.session.state.status).toBe('signed-in')
  })

  it('have different keys by themselves where their resources differ', async () => {
    const storage = sharedStorage()
    for (const host of ['a.example.com', 'b.example.com']) {
      const session = createSession({
        resources: `https://${host}`,
        storage,
        lock: { request: async (_name, _options, callback) => callback({}) },
        channel: { postMessage() {}, addEventListener() {}, removeEventListener() {}, close() {} },
        grant: async () => ({ access_token: secret(host) }),
      })
      await session.adopt({ access_token: secret(host) })
    }
    expect(storage.keys()).toEqual(['latchkey:a.example.com', 'latchkey:b.example.com'])
  })

  it('and where two grants meet on one key, the one never spends what the other obtained', async () => {
    const clock = createClock()
    const server = createStrictServer({ clock })
    const storage = sharedStorage()
    const base = { resources, name: 'test', clock, storage, fetch: server.fetch }
    const first = createSession({ ...base, grant: passwordGrant({ tokenEndpoint, clientId: 'app' }) })
    await first.adopt(server.signIn())
    first.dispose()
    const before = storage.getItem('latchkey:test')
    const second = createSession({
      ...base,
      grant: refreshTokenGrant({ tokenEndpoint: 'https://other.example.com/token' }),
    })
    await second.ready
    expect(second.state).toEqual({ status: 'signed-out', reason: 'storage_corrupt' })
    await expect(second.fetch(url)).rejects.toMatchObject({ code: 'signed_out' })
    expect(server.requests).toEqual([])
    expect(storage.getItem('latchkey:test')).toBe(before)
    second.dispose()
  })
})
