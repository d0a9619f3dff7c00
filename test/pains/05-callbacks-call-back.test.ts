import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession, type Lock, type Session, type SessionEvents } from '../../src/index.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { caught, createWorld, pass, recordEvents, settle } from './support.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

type EventName = keyof SessionEvents | 'subscribe'

/** A session whose lock says how many hold it, and whose ports can fail. */
function setUp() {
  const world = createWorld()
  const faults = { isGrantDown: false, isStorageFull: false, isLockNone: false, holders: 0 }
  const lock: Lock = {
    request: (name, options, callback) =>
      faults.isLockNone
        ? Promise.reject(Object.assign(new Error('none'), { name: 'SecurityError' }))
        : world.lock.request(name, options, async grip => {
            faults.holders++
            try {
              return await callback(grip)
            } finally {
              faults.holders--
            }
          }),
  }
  const session = createSession<object>({
    resources: api,
    name: 'test',
    clock: world.clock,
    lock,
    channel: world.network.join(),
    storage: world.storage(world.items, {
      setItem(key, value) {
        if (faults.isStorageFull) throw new Error('full')
        world.items.set(key, value)
      },
    }),
    grant: {
      ...world.grant,
      signIn: async () => world.server.signIn(),
      async renew(tokens, context) {
        if (faults.isGrantDown) throw new Response(null, { status: 503 })
        return world.grant.renew(tokens, context)
      },
    },
    fetch: async (input, init) =>
      new Request(input).url.endsWith('/admin')
        ? new Response(null, { status: 403, headers: { 'www-authenticate': 'Bearer error="insufficient_scope"' } })
        : world.server.fetch(input, init),
  })
  return { ...world, session, faults }
}
type Scene = ReturnType<typeof setUp>

/** What makes each event happen; resolves when the calls of the app that led to it have settled. */
const scenes: Record<EventName, (scene: Scene) => Promise<unknown>> = {
  'signed-in': ({ session }) => session.signIn({}),
  renewed: async ({ session, clock }) => {
    await session.signIn({})
    clock.advance(301_000)
    return session.fetch(api)
  },
  'renewal-failed': async ({ session, clock, faults }) => {
    await session.signIn({})
    clock.advance(301_000)
    faults.isGrantDown = true
    return session.fetch(api).catch(() => undefined)
  },
  'signed-out': async ({ session }) => {
    await session.signIn({})
    return session.signOut()
  },
  'storage-failed': async ({ session, faults }) => {
    faults.isStorageFull = true
    return session.signIn({})
  },
  degraded: async ({ session, clock, faults }) => {
    faults.isLockNone = true
    await session.signIn({})
    clock.advance(301_000)
    return session.fetch(api)
  },
  'insufficient-scope': async ({ session }) => {
    await session.signIn({})
    return session.fetch(`${api}/admin`)
  },
  request: async ({ session }) => {
    await session.signIn({})
    return session.fetch(api)
  },
  subscribe: ({ session }) => session.signIn({}),
}

const calls: Record<string, (session: Session<object>) => unknown> = {
  fetch: session => session.fetch(api),
  getAccessToken: session => session.getAccessToken(),
  authorizationHeaders: session => session.authorizationHeaders(api),
  renew: session => session.renew(),
  signIn: session => session.signIn({}),
  adopt: session => session.adopt({ access_token: 'adopted', expires_in: 60 }),
  signOut: session => session.signOut(),
  completeSignIn: session => session.completeSignIn(api),
  ready: session => session.ready,
  state: session => session.state,
  subscribe: session => session.subscribe(() => undefined)(),
  on: session => session.on('renewed', () => undefined)(),
  'fetch of a view': session => session.for({ scope: 'x' }).fetch(api),
  dispose: session => session.dispose(),
}

const names = Object.keys(scenes) as EventName[]
const listen = (session: Session<object>, name: EventName, listener: () => unknown) =>
  name === 'subscribe' ? session.subscribe(listener as () => void) : session.on(name, listener)

describe.each(names)('pain 5: a listener of %s', name => {
  it.each(Object.entries(calls))(
    'may call %s, awaited or not: everything settles, and no lock is held',
    async (_call, act) => {
      for (const how of ['sync', 'awaited'] as const) {
        const scene = setUp()
        const { session, faults, clock } = scene
        const inner: Promise<unknown>[] = []
        const held: number[] = []
        let hasCalled = false
        const call = async () => act(session)
        listen(session, name, () => {
          if (hasCalled) return undefined
          hasCalled = true
          held.push(faults.holders)
          const result = caught(call())
          inner.push(result)
          return how === 'awaited' ? result : undefined
        })
        const outer = caught(scenes[name](scene))
        await pass(clock, 40_000)
        const pending = Symbol('pending')
        expect(inner).toHaveLength(1)
        const results = await Promise.all(
          [outer, ...inner].map(each => Promise.race([each, settle().then(() => pending)])),
        )
        expect(results).not.toContain(pending)
        expect(held).toEqual([0])
        for (const { error } of results as { error?: Error }[]) {
          if (error) expect(error).toMatchObject({ name: 'SessionError' })
        }
      }
    },
  )

  it.each([
    [
      'throws',
      () => {
        throw new Error('mine')
      },
    ],
    ['rejects', () => Promise.reject(new Error('mine'))],
    ['never resolves', () => new Promise(() => undefined)],
  ])('that %s changes nothing for anybody', async (how, listener) => {
    const report = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    const scene = setUp()
    const later = vi.fn()
    listen(scene.session, name, listener)
    listen(scene.session, name, later)
    const plain = setUp()
    const [result, expected] = [caught(scenes[name](scene)), caught(scenes[name](plain))]
    await pass(scene.clock, 20_000)
    const status = ({ value, error }: { value?: unknown; error?: unknown }) =>
      error ? 'error' : (value as Response)?.status
    expect(status(await result)).toBe(status(await expected))
    expect(later).toHaveBeenCalled()
    expect(scene.session.state.status).toBe(plain.session.state.status)
    expect(scene.faults.holders).toBe(0)
    // The app's own mistake is shown to the app.
    expect(report.mock.calls.length > 0).toBe(how !== 'never resolves')
  })
})

describe('pain 5: events', () => {
  it('come in the order in which things happened, after the lock is free and before the call returns', async () => {
    const { session, faults, clock, server } = setUp()
    const events = recordEvents(session as never)
    const held: number[] = []
    for (const name of names) listen(session, name, () => held.push(faults.holders))
    await session.signIn({})
    clock.advance(301_000)
    await session.fetch(api).then(() => events.push('fetched'))
    clock.advance(301_000)
    faults.isGrantDown = true
    const down = caught(session.fetch(api)).then(() => events.push('failed'))
    await pass(clock, 2000)
    await down
    faults.isGrantDown = false
    await pass(clock, 10_000)
    await session.fetch(api).then(() => events.push('fetched'))
    await session.signIn({})
    await session.signOut()
    expect(events).toEqual([
      'signed-in',
      'renewed',
      'fetched',
      'renewal-failed unreachable',
      'failed',
      'renewed',
      'fetched',
      'signed-out replaced',
      'signed-in',
      'signed-out requested',
    ])
    expect(new Set(held)).toEqual(new Set([0]))
    expect(server.stats.reuses).toBe(0)
  })
})
