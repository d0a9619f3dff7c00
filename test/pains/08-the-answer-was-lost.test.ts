import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession, type GrantFunction, passwordGrant, type SessionError } from '../../src/index.ts'
import { api, createStrictServer, tokenEndpoint, user } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { caught, createGraceServer, createRealm, createWorld, deferred, pass, settle } from './support.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** The server commits, the client never hears of it. */
function createLossy(inner: GrantFunction, losses: number) {
  const sent: (string | undefined)[] = []
  const grant: GrantFunction = async (tokens, context) => {
    sent.push(tokens.refreshToken)
    const answer = await inner(tokens, context)
    if (sent.length <= losses) throw new TypeError('fetch failed')
    return answer
  }
  return { grant, sent }
}

describe('pain 8: the server rotated, and the answer was lost', () => {
  it.each([1, 2])(
    'inside a reuse window the same token is sent again (%d answers lost), and nobody notices',
    async losses => {
      const world = createWorld()
      const server = createGraceServer(world.clock, 30_000)
      const { grant, sent } = createLossy(server.grant, losses)
      const { session, events } = createRealm(world, { grant, fetch: server.fetch })
      await session.adopt(server.first())
      await settle()
      world.clock.advance(301_000)
      const call = session.fetch(api)
      await pass(world.clock, 2000, 100)
      expect((await call).status).toBe(200)
      expect(sent).toEqual(Array(losses + 1).fill(secret('refresh-1')))
      expect(server.stats).toMatchObject({ rotations: 1, refusals: 0 })
      expect(events).toEqual(['signed-in', 'renewed'])
      expect(world.items.get(world.key)).toContain(secret('refresh-2'))
    },
  )

  it('and the process died: the next one sends the same token again, inside of the window', async () => {
    const world = createWorld()
    const server = createGraceServer(world.clock, 30_000)
    const killed = createRealm(world, {
      fetch: server.fetch,
      grant: async ({ refreshToken }) => {
        server.rotate(refreshToken)
        return new Promise(() => undefined)
      },
      // A lock of its own dies with the process.
      without: ['lock'],
      lock: { request: async (_name, _options, callback) => callback({}) },
    })
    await killed.session.adopt(server.first())
    await settle()
    world.clock.advance(301_000)
    void caught(killed.session.fetch(api))
    await settle()
    killed.channel.close()
    expect(server.stats.rotations).toBe(1)
    const next = createRealm(world, { grant: server.grant, fetch: server.fetch })
    const call = next.session.fetch(api)
    await pass(world.clock, 2000, 100)
    expect((await call).status).toBe(200)
    expect(server.stats).toMatchObject({ rotations: 1, refusals: 0 })
    expect(next.session.state.status).toBe('signed-in')
  })

  it('and every answer is lost for a while: the session is kept, and the window of the server decides', async () => {
    const world = createWorld()
    const server = createGraceServer(world.clock, 30_000)
    const { grant } = createLossy(server.grant, 3)
    const { session } = createRealm(world, { grant, fetch: server.fetch })
    await session.adopt(server.first())
    await settle()
    world.clock.advance(301_000)
    const first = caught(session.fetch(api))
    await pass(world.clock, 2000, 100)
    const { error } = (await first) as { error: SessionError }
    expect(error).toMatchObject({ code: 'unreachable', retryable: true })
    await pass(world.clock, 3000)
    expect((await session.fetch(api)).status).toBe(200)
    expect(server.stats).toMatchObject({ rotations: 1, refusals: 0 })
  })

  it('to a server that forgives nothing: one typed result that says so, and no loop', async () => {
    const world = createWorld()
    const strict = createStrictServer({ clock: world.clock })
    let losses = 0
    const sent: string[] = []
    const session = createSession({
      resources: api,
      clock: world.clock,
      grant: passwordGrant({ tokenEndpoint, clientId: 'app' }),
      async fetch(input, init) {
        const request = new Request(input, init)
        const isRenewal = request.url === tokenEndpoint && (await request.clone().text()).includes('refresh_token=')
        if (isRenewal) sent.push(request.url)
        const answer = await strict.handle(request)
        if (isRenewal && losses++ === 0) throw new TypeError('fetch failed')
        return answer
      },
    })
    await session.signIn(user)
    world.clock.advance(301_000)
    const reasons: string[] = []
    session.on('signed-out', ({ reason }) => reasons.push(reason))
    const calls = Array.from({ length: 20 }, () => caught(session.fetch(api)))
    await pass(world.clock, 5000)
    for (const { error } of await Promise.all(calls)) {
      expect(error).toMatchObject({ code: 'signed_out', retryable: false, signInRequired: true })
      expect(((error as SessionError).cause as Error).cause).toMatchObject({ error: 'invalid_grant' })
    }
    for (let call = 0; call < 20; call++) {
      await pass(world.clock, 5000)
      expect((await caught(session.fetch(api))).error).toMatchObject({ code: 'signed_out' })
    }
    expect(reasons).toEqual(['refused'])
    expect(sent).toHaveLength(2)
    expect(strict.stats).toMatchObject({ renewals: 1, reuses: 1, apiCalls: 0 })
  })
})

describe('pain 8: a renewal is its own', () => {
  it('no signal of a caller reaches it, and its time is longer than that of any API call', async () => {
    const world = createWorld()
    const seen: AbortSignal[] = []
    const answer = deferred<ReturnType<ReturnType<typeof createGraceServer>['first']>>()
    const { session } = createRealm(world, {
      grant: (_tokens, { signal }) => {
        seen.push(signal)
        return answer.promise
      },
    })
    await session.adopt(world.server.signIn())
    await settle()
    world.clock.advance(301_000)
    const controllers = Array.from({ length: 3 }, () => new AbortController())
    const calls = controllers.map(({ signal }) => caught(session.fetch(api, { signal })))
    await settle()
    for (const controller of controllers) controller.abort()
    await Promise.all(calls)
    await pass(world.clock, 29_000)
    expect(seen.map(({ aborted }) => aborted)).toEqual([false])
    answer.resolve({ access_token: secret('late'), refresh_token: secret('late-refresh'), expires_in: 300 })
    await settle()
    expect(world.items.get(world.key)).toContain(secret('late-refresh'))
  })

  it('never asks for keepalive: an answer that nobody can read any more is a lost one', async () => {
    const world = createWorld()
    const inits: (RequestInit & { url: string })[] = []
    const session = createSession({
      resources: api,
      clock: world.clock,
      grant: passwordGrant({ tokenEndpoint, clientId: 'app' }),
      fetch: async (input, init) => {
        const request = new Request(input, init)
        inits.push({ url: request.url, keepalive: request.keepalive })
        return createStrictServer({ clock: world.clock }).handle(request)
      },
    })
    await session.signIn(user)
    world.clock.advance(301_000)
    const call = caught(session.fetch(api))
    await pass(world.clock, 5000)
    await call
    expect(inits.length).toBeGreaterThan(1)
    for (const { keepalive } of inits) expect(keepalive).toBe(false)
  })
})

describe('pain 8: the docs', () => {
  it('say which providers need which reuse interval', () => {
    const docs = readFileSync(new URL('../../docs/providers.md', import.meta.url), 'utf8')
    const [head = '', _line, ...rows] = docs.split('\n').filter(line => line.startsWith('| '))
    expect(head).toContain('reuse of a spent one')
    for (const provider of ['Auth0', 'Keycloak', 'Okta', 'Supabase']) {
      expect(rows.some(row => row.startsWith(`| ${provider} `))).toBe(true)
    }
  })
})
