import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession, webStorage } from '../../src/index.ts'
import { memoryLock } from '../../src/locks/memory.ts'
import { secret } from '../support/no-leaks.ts'
import { settle } from './support.ts'

const url = 'https://api.example.com/items'
const key = 'latchkey:api.example.com'

/** What a page has, counted: event listeners, channels, timers, locks. */
function countHandles() {
  const listeners = new Map<unknown, number>()
  const channels = new Set<BroadcastChannel>()
  let locks = 0
  for (const target of [window, document] as EventTarget[]) {
    const { addEventListener, removeEventListener } = target
    vi.spyOn(target, 'addEventListener').mockImplementation((...args) => {
      listeners.set(args[1], (listeners.get(args[1]) ?? 0) + 1)
      return addEventListener.apply(target, args as never)
    })
    vi.spyOn(target, 'removeEventListener').mockImplementation((...args) => {
      listeners.set(args[1], Math.max((listeners.get(args[1]) ?? 0) - 1, 0))
      return removeEventListener.apply(target, args as never)
    })
  }
  const { BroadcastChannel } = globalThis
  class Counted extends BroadcastChannel {
    constructor(name: string) {
      super(name)
      channels.add(this)
    }
    override close() {
      channels.delete(this)
      super.close()
    }
  }
  vi.stubGlobal('BroadcastChannel', Counted)
  const inner = memoryLock()
  Object.defineProperty(navigator, 'locks', {
    configurable: true,
    value: {
      request: (name: string, options: object, callback: (grip?: unknown) => Promise<void>) =>
        inner.request(name, options, async grip => {
          locks++
          await callback(grip).finally(() => {
            locks--
          })
        }),
    },
  })
  return () => ({
    listeners: [...listeners.values()].reduce((sum, count) => sum + count, 0),
    channels: channels.size,
    locks,
  })
}

/** A server whose refresh tokens work once. */
function createServer() {
  const stats = { tokenCalls: 0, refusals: 0 }
  let current = 1
  const answer = () => ({
    access_token: secret(`access-${current}`),
    refresh_token: secret(`refresh-${current}`),
    expires_in: 60,
  })
  const renew = async (refreshToken: string | undefined) => {
    stats.tokenCalls++
    await settle()
    if (refreshToken !== secret(`refresh-${current}`)) {
      stats.refusals++
      throw Object.assign(new Error('refused'), { error: 'invalid_grant' })
    }
    current++
    return answer()
  }
  return { stats, answer, renew }
}

/** The module of the app, evaluated once more: what `create` is, the SDK's module is too. */
function evaluateApp(server: ReturnType<typeof createServer>, create = createSession) {
  return create({
    resources: 'https://api.example.com',
    storage: webStorage('local'),
    grant: ({ refreshToken }) => server.renew(refreshToken),
    fetch: async (_input, init) => new Response(new Headers(init?.headers).get('authorization')),
  })
}

/** The token that is stored has come to its end. */
function expire() {
  const record = JSON.parse(localStorage.getItem(key) ?? '{}')
  const tokens = { ...record.tokens, expiresAtMs: Date.now() - 1000 }
  localStorage.setItem(key, JSON.stringify({ ...record, tokens, savedAtMs: Date.now() - 60_000 }))
}

async function signedIn() {
  const server = createServer()
  const session = evaluateApp(server)
  await session.adopt(server.answer())
  await settle()
  session.dispose()
  expire()
  return server
}

let open: ReturnType<typeof countHandles>
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  localStorage.clear()
  open = countHandles()
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
  Reflect.deleteProperty(navigator, 'locks')
})

const nothing = { listeners: 0, channels: 0, locks: 0 }

describe('pain 37: StrictMode', () => {
  it('mounts, unmounts and mounts: one renewal, the same snapshot, no subscriber left', async () => {
    const server = await signedIn()
    // Rendered twice, thus made twice, where an app makes it in a component.
    const [session, twin] = [evaluateApp(server), evaluateApp(server)]
    const render = vi.fn()
    const results: Promise<Response>[] = []
    for (const each of [twin, session]) {
      expect(each.state).toBe(each.state)
      expect(each.serverState).toBe(each.serverState)
    }
    await settle()
    const mount = () => {
      const stop = session.subscribe(render)
      results.push(session.fetch(url), twin.fetch(url))
      return stop
    }
    mount()()
    const stop = mount()
    for (const answer of await Promise.all(results)) expect(await answer.text()).toBe(`Bearer ${secret('access-2')}`)
    expect(server.stats).toEqual({ tokenCalls: 1, refusals: 0 })
    expect(render).toHaveBeenCalledTimes(1)
    stop()
    await session.signOut()
    expect(render).toHaveBeenCalledTimes(1)
    session.dispose()
    twin.dispose()
    await settle()
    expect(open()).toEqual(nothing)
  })
})

describe('pain 37: 20 reloads of a module', () => {
  it.each([
    ['that disposes of its session', true],
    ['that forgets its session', false],
  ])(
    '%s, in the middle of a renewal: one token call, and nothing is left of those that were disposed of',
    async (_what, isTidy) => {
      const server = await signedIn()
      const sessions: ReturnType<typeof evaluateApp>[] = []
      const calls: Promise<unknown>[] = []
      for (let reload = 0; reload < 20; reload++) {
        if (isTidy) sessions.at(-1)?.dispose()
        const session = evaluateApp(server)
        sessions.push(session)
        calls.push(
          session.fetch(url).then(
            answer => answer.text(),
            error => error.code,
          ),
        )
      }
      await settle()
      const texts = await Promise.all(calls)
      const token = `Bearer ${secret('access-2')}`
      // One that was disposed of may say so; none sends the old token.
      for (const text of texts) expect(isTidy ? ['disposed', token] : [token]).toContain(text)
      expect(texts.at(-1)).toBe(token)
      expect(server.stats).toEqual({ tokenCalls: 1, refusals: 0 })
      for (const session of sessions) session.dispose()
      for (const session of sessions) session.dispose()
      await settle()
      await vi.advanceTimersByTimeAsync(120_000)
      expect(open()).toEqual(nothing)
      expect(vi.getTimerCount()).toBe(0)
    },
  )

  it('of the SDK itself: the lock and the record are shared all the same, one token call', async () => {
    const server = await signedIn()
    const calls: Promise<unknown>[] = []
    const sessions: { dispose(): void }[] = []
    for (let reload = 0; reload < 20; reload++) {
      vi.resetModules()
      const copy = await import('../../src/index.ts')
      expect(copy.createSession).not.toBe(createSession)
      const session = evaluateApp(server, copy.createSession)
      sessions.push(session)
      calls.push(session.fetch(url).then(answer => answer.text()))
    }
    await vi.advanceTimersByTimeAsync(2000)
    for (const text of await Promise.all(calls)) expect(text).toBe(`Bearer ${secret('access-2')}`)
    expect(server.stats).toEqual({ tokenCalls: 1, refusals: 0 })
    for (const session of sessions) session.dispose()
    await settle()
    expect(open()).toEqual(nothing)
  })

  it('one that is disposed of in the middle of its renewal saves what it got', async () => {
    const server = await signedIn()
    const old = evaluateApp(server)
    const call = old.fetch(url).catch(error => error.code)
    await Promise.resolve()
    old.dispose()
    await settle()
    await vi.advanceTimersByTimeAsync(2000)
    await call
    expect(localStorage.getItem(key)).toContain(secret('refresh-2'))
    const next = evaluateApp(server)
    expect(await (await next.fetch(url)).text()).toBe(`Bearer ${secret('access-2')}`)
    next.dispose()
    expect(server.stats).toEqual({ tokenCalls: 1, refusals: 0 })
    expect(open()).toEqual(nothing)
  })
})
