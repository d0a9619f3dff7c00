import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession, passwordGrant, type SessionEvents, type SessionOptions } from '../../src/index.ts'
import {
  api,
  createStrictServer,
  revocationEndpoint,
  tokenEndpoint,
  user,
} from '../servers/strict-authorization-server.ts'
import { canary, secret } from '../support/no-leaks.ts'
import { caught, createWorld, pass } from './support.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

/** All that a logger, a reporter or devtools may make of a value. */
function shown(value: unknown): string {
  const texts = [
    String(value),
    inspect(value, { depth: null, showHidden: true, getters: true, maxStringLength: null, maxArrayLength: null }),
  ]
  const views: (() => unknown)[] = [
    () => JSON.stringify(value),
    () => JSON.stringify(value, Object.getOwnPropertyNames(value ?? {})),
    () => inspect(structuredClone(value), { depth: null, showHidden: true }),
    () => (value as { toJSON?(): unknown }).toJSON?.(),
    () => (value as Error).stack,
    () => shown((value as Error).cause),
  ]
  for (const view of views) {
    try {
      texts.push(String(view()))
    } catch {
      // It can not be shown in this way.
    }
  }
  return texts.join('\n')
}

const types = [
  'signed-in',
  'renewed',
  'renewal-failed',
  'signed-out',
  'storage-failed',
  'degraded',
  'insufficient-scope',
  'request',
] as const satisfies (keyof SessionEvents)[]

function setUp(more: Partial<SessionOptions<typeof user>> = {}) {
  const world = createWorld()
  const strict = createStrictServer({
    clock: world.clock,
    client: { id: 'app', secret: secret('client'), auth: 'client_secret_basic' },
  })
  const names: string[] = []
  const faults: { api?: () => Response; token?: (text: string) => Response | Promise<Response>; storage?: boolean } = {}
  const channel = world.network.join()
  const session = createSession({
    resources: api,
    grant: passwordGrant({ tokenEndpoint, revocationEndpoint, clientId: 'app', clientSecret: secret('client') }),
    clock: world.clock,
    channel,
    lock: {
      request: (name, options, callback) => {
        names.push(name)
        return world.lock.request(name, options, callback)
      },
    },
    storage: world.storage(world.items, {
      setItem(key, value) {
        names.push(key)
        if (faults.storage) throw new Error('QuotaExceededError')
        world.items.set(key, value)
      },
    }),
    async fetch(input, init) {
      const request = new Request(input, init)
      if (request.url.startsWith(api)) return faults.api?.() ?? strict.handle(request)
      if (!faults.token) return strict.handle(request)
      return faults.token(await request.text())
    },
    ...more,
  })
  const told: unknown[] = []
  for (const type of types) session.on(type, payload => told.push(payload))
  return { ...world, strict, session, faults, names, told }
}

/** A server that says in its error what it was sent, as some do. */
const echo = (status: number, error: string) => (text: string) =>
  Response.json({ error, error_description: `bad: ${text}`, hint: text }, { status, headers: { 'x-echo': 'yes' } })

type Scene = ReturnType<typeof setUp>
const scenes: [what: string, run: (scene: Scene) => Promise<unknown>][] = [
  [
    'a life without trouble',
    async ({ session, clock }) => {
      await session.signIn(user)
      await session.fetch(`${api}/items?token=${secret('query')}`)
      clock.advance(301_000)
      await session.fetch(`${api}/items?token=${secret('query')}#${secret('hash')}`)
      return session.signOut()
    },
  ],
  ['a wrong password', ({ session }) => session.signIn({ ...user, password: secret('wrong') })],
  [
    'a server that echoes the password',
    ({ session, faults }) => {
      faults.token = echo(400, 'invalid_grant')
      return session.signIn(user)
    },
  ],
  [
    'a server that echoes the refresh token and refuses it',
    async ({ session, clock, faults }) => {
      await session.signIn(user)
      clock.advance(301_000)
      faults.token = echo(400, 'invalid_grant')
      return session.fetch(api)
    },
  ],
  [
    'a server that echoes the refresh token and is down',
    async ({ session, clock, faults }) => {
      await session.signIn(user)
      clock.advance(301_000)
      faults.token = echo(503, 'server_error')
      return session.fetch(api)
    },
  ],
  [
    'an answer that holds tokens in the wrong place',
    async ({ session, clock, faults }) => {
      await session.signIn(user)
      clock.advance(301_000)
      faults.token = () =>
        Response.json({ data: { access_token: secret('misplaced') }, access_token: `${secret('torn')}\n` })
      return session.fetch(api)
    },
  ],
  [
    'a network error that names the URL',
    async ({ session, clock, faults }) => {
      await session.signIn(user)
      clock.advance(301_000)
      faults.token = () => Promise.reject(new TypeError('fetch failed'))
      return session.fetch(api)
    },
  ],
  [
    'a storage that is full',
    async ({ session, faults, clock }) => {
      faults.storage = true
      await session.signIn(user)
      clock.advance(301_000)
      return session.renew()
    },
  ],
  [
    'an API that says 401 for ever',
    async ({ session, clock, faults }) => {
      await session.signIn(user)
      clock.advance(10_000)
      faults.api = () =>
        new Response(null, { status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token"' } })
      faults.token = echo(500, 'server_error')
      return session.fetch(api)
    },
  ],
  [
    'a record that is not ours',
    async ({ session, items, faults }) => {
      items.set('latchkey:api.example.com', `{"stolen":"${secret('stored')}"}`)
      delete faults.token
      return session.fetch(api)
    },
  ],
]

describe('pain 24: neither token, password, client secret nor query is shown', () => {
  it.each(scenes)('by what an app gets, hears or logs of %s', async (_what, run) => {
    const scene = setUp()
    const call = caught(run(scene))
    await pass(scene.clock, 40_000)
    const { value, error } = await call
    const { session, told, names, network } = scene
    // A session that was looked at, and one whose functions were.
    const all = [error, ...told, names, session, session.state, session.serverState, Object.values(session)]
    if (!(value instanceof Response)) all.push(value)
    for (const each of all) expect(shown(each)).not.toContain(canary)
    expect(JSON.stringify(network.messages)).not.toContain(canary)
    expect(told.length + (error ? 1 : 0)).toBeGreaterThan(0)
  })

  it('and a console.log of the session while it is signed in prints none of it', async () => {
    const { session } = setUp()
    await session.signIn(user)
    const printed: string[] = []
    vi.spyOn(process.stdout, 'write').mockImplementation(text => {
      printed.push(String(text))
      return true
    })
    process.stdout.write(
      inspect({ session, view: session.for({ scope: 'x' }) }, { depth: null, showHidden: true, getters: true }),
    )
    vi.restoreAllMocks()
    expect(printed.join()).toContain('getAccessToken')
    expect(printed.join()).not.toContain(canary)
  })
})
