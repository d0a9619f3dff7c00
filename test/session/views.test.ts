import { describe, expect, it } from 'vitest'
import { createSession, type GrantContext, memoryStorage, refused, type TokenSet } from '../../src/index.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

const api = 'https://api.example.com'
const files = 'https://files.example.com'

/** A strict rotating server that cuts tokens to what is asked for; the token's name says what it is for. */
function setUp({ lifetime = 60, refusal = 'invalid_target' } = {}) {
  const clock = createClock()
  const stats = { renewals: 0, running: 0, most: 0 }
  let generation = 1
  const storage = memoryStorage()
  const sent: [url: string, authorization: string | null][] = []
  const session = createSession({
    resources: [api, files],
    name: 'views',
    storage,
    clock,
    async grant({ refreshToken }: TokenSet, { target }: GrantContext) {
      stats.renewals++
      stats.most = Math.max(stats.most, ++stats.running)
      await Promise.resolve()
      stats.running--
      if (refreshToken !== secret(`r${generation}`)) throw refused()
      if (target?.resource?.includes('refused')) throw Response.json({ error: refusal }, { status: 400 })
      const what = target ? `${target.resource ?? ''}|${target.scope ?? ''}` : 'own'
      return {
        access_token: secret(`${what}#${++generation}`),
        refresh_token: secret(`r${generation}`),
        expires_in: lifetime,
      }
    },
    fetch: (async (input: unknown, init?: RequestInit) => {
      sent.push([String(input), new Headers(init?.headers).get('authorization')])
      return new Response('ok')
    }) as typeof fetch,
  })
  const start = () =>
    session.adopt({ access_token: secret('own#1'), refresh_token: secret('r1'), expires_in: lifetime })
  return { session, clock, stats, sent, storage, start }
}

describe('session.for', () => {
  it('attaches a token of its own, under its resource only, and leaves the session’s token and state alone', async () => {
    const { session, sent, start } = setUp()
    await start()
    const before = session.state
    const view = session.for({ resource: files, scope: 'read' })
    await view.fetch(`${files}/a`)
    await view.fetch(`${api}/b`)
    await session.fetch(`${api}/c`)
    expect(sent).toEqual([
      [`${files}/a`, `Bearer ${secret(`${files}|read#2`)}`],
      [`${api}/b`, null],
      [`${api}/c`, `Bearer ${secret('own#1')}`],
    ])
    expect(session.state).toBe(before)
  })

  it('shares one token among views of equal targets, and one call among 20 requests', async () => {
    const { session, stats, start } = setUp()
    await start()
    await Promise.all(Array.from({ length: 20 }, () => session.for({ resource: files }).fetch(files)))
    expect(stats.renewals).toBe(1)
  })

  it('is one line of rotation with the session and the other views: never two calls at once, and none is refused', async () => {
    const { session, clock, stats, start } = setUp()
    await start()
    for (let round = 1; round <= 5; round++) {
      clock.advance(61_000)
      const answers = await Promise.all([
        session.fetch(api),
        session.for({ resource: files }).fetch(files),
        session.for({ scope: 'read' }).fetch(api),
        session.for({ resource: files }).fetch(files),
      ])
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
      expect(stats).toMatchObject({ renewals: 3 * round, most: 1 })
    }
  })

  it('keeps view tokens out of the record, which gets the rotated refresh token', async () => {
    const { session, storage, start } = setUp()
    await start()
    await session.for({ resource: files }).getAccessToken()
    const stored = JSON.parse((await storage.getItem('latchkey:views')) as string)
    expect(stored).toMatchObject({
      generation: 2,
      tokens: { accessToken: secret('own#1'), refreshToken: secret('r2') },
    })
    expect(JSON.stringify(stored)).not.toContain(files)
  })

  it('says token_refused for a target that the server refuses, for that view only and without a back-off', async () => {
    for (const refusal of ['invalid_target', 'invalid_scope']) {
      const { session, start } = setUp({ refusal })
      await start()
      const view = session.for({ resource: 'https://refused.example.com' })
      await expect(view.getAccessToken()).rejects.toMatchObject({ code: 'token_refused', retryable: false })
      expect(await session.for({ scope: 'read' }).getAccessToken()).toContain('|read')
      expect(session.state.status).toBe('signed-in')
    }
  })

  it('rejects its waiters at once when the session is signed out, and has no token after', async () => {
    const { session, start } = setUp()
    await start()
    const view = session.for({ resource: files })
    const waiting = view.fetch(files)
    const done = session.signOut()
    await expect(waiting).rejects.toMatchObject({ code: 'signed_out' })
    await done
    await expect(view.getAccessToken()).rejects.toMatchObject({ code: 'signed_out' })
  })

  it('has no signIn, adopt or dispose', () => {
    const { session } = setUp()
    const view = session.for({})
    expect(Object.keys(view)).not.toEqual(expect.arrayContaining(['adopt']))
    for (const method of ['signIn', 'adopt', 'dispose']) expect(method in view).toBe(false)
  })
})
