import { describe, expect, it } from 'vitest'
import { createSession, type GrantContext, memoryStorage, refused, type TokenSet } from '../../src/index.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { settle } from './contexts-fakes.ts'

const api = 'https://api.example.com'

/** A server that rotates; `more` says what it puts beside the access token. */
function setUp(renew: (count: number, context: GrantContext, tokens: TokenSet) => object | Promise<object>) {
  const clock = createClock()
  const storage = memoryStorage()
  let count = 0
  const spent: unknown[] = []
  const session = createSession({
    resources: api,
    name: 'view',
    storage,
    clock,
    fetch: (async () => new Response('no', { status: 401 })) as typeof fetch,
    async grant(tokens, context) {
      spent.push(tokens.refreshToken)
      return { access_token: secret(`view-${++count}`), ...(await renew(count, context, tokens)) }
    },
  })
  const stored = async () => JSON.parse((await storage.getItem('latchkey:view')) as string)
  const signIn = () =>
    session.adopt({
      access_token: secret('own'),
      refresh_token: secret('r0'),
      expires_in: 300,
      scope: 'all',
      id_token: secret('id'),
    })
  return { session, clock, spent, stored, signIn, count: () => count }
}

describe('the token of a view', () => {
  it('is obtained at the first use, lives as long as it says, and is renewed ahead of its end', async () => {
    const { session, clock, signIn, count } = setUp(() => ({ expires_in: 100 }))
    await signIn()
    const view = session.for({ scope: 'read' })
    expect(count()).toBe(0)
    expect(await view.getAccessToken()).toBe(secret('view-1'))
    clock.advance(70_000)
    expect(await view.getAccessToken()).toBe(secret('view-1'))
    await settle()
    expect(count()).toBe(1)
    clock.advance(15_000) // inside of a quarter of its life, less the jitter
    expect(await view.getAccessToken()).toBe(secret('view-1'))
    await settle()
    expect(await view.getAccessToken()).toBe(secret('view-2'))
    clock.advance(101_000)
    expect(await view.getAccessToken()).toBe(secret('view-3'))
  })

  it('never changes the session’s own, whose record gets the rotated refresh token alone', async () => {
    const { session, signIn, stored, spent } = setUp(count => ({
      refresh_token: secret(`r${count}`),
      scope: 'read',
      expires_in: 9,
    }))
    await signIn()
    const before = session.state
    const told: string[] = []
    session.on('renewed', () => told.push('renewed'))
    session.subscribe(() => told.push('changed'))
    await session.for({ scope: 'read' }).getAccessToken()
    expect(await stored()).toMatchObject({
      generation: 2,
      tokens: { accessToken: secret('own'), refreshToken: secret('r1'), scope: 'all', idToken: secret('id') },
    })
    expect([session.state, told]).toEqual([before, []])
    await session.for({ scope: 'write' }).getAccessToken()
    expect(spent).toEqual([secret('r0'), secret('r1')])
    expect(told).toEqual([])
  })

  it('keeps the refresh token that a server does not rotate', async () => {
    const { session, signIn, stored } = setUp(() => ({ expires_in: 9 }))
    await signIn()
    await session.for({ scope: 'read' }).getAccessToken()
    expect((await stored()).tokens.refreshToken).toBe(secret('r0'))
  })

  it('is asked for by its target, and is none of the session’s', async () => {
    const targets: unknown[] = []
    const { session, signIn } = setUp((_count, { target }) => {
      targets.push(target)
      return { expires_in: 300 }
    })
    await signIn()
    await session.for({ resource: api, scope: 'read' }).getAccessToken()
    await session.renew()
    expect(targets).toEqual([{ resource: api, scope: 'read' }, undefined])
  })

  it('ends with the sign-in: the next one’s view has another', async () => {
    const { session, signIn } = setUp(() => ({ expires_in: 300 }))
    await signIn()
    const view = session.for({ scope: 'read' })
    await view.getAccessToken()
    await session.signOut()
    await expect(view.getAccessToken()).rejects.toMatchObject({ code: 'signed_out' })
    await signIn()
    expect(await view.getAccessToken()).toBe(secret('view-2'))
  })

  it('that arrives expired serves who waited for it, and is not asked for again by its 401', async () => {
    const { session, signIn, count } = setUp(() => ({ expires_in: 0 }))
    await signIn()
    const view = session.for({ scope: 'read' })
    expect((await view.fetch(api)).status).toBe(401)
    expect(count()).toBe(1)
  })

  it('of a 401 is replaced by itself', async () => {
    const { session, clock, signIn, count } = setUp(() => ({ expires_in: 300 }))
    await signIn()
    const view = session.for({ scope: 'read' })
    await view.getAccessToken()
    clock.advance(10_000)
    expect((await view.fetch(api)).status).toBe(401)
    expect(count()).toBe(2)
    expect(await view.getAccessToken()).toBe(secret('view-2'))
    expect(session.state.status).toBe('signed-in')
  })

  it('that the server refuses for good ends nothing while the session’s own token lives', async () => {
    const { session, clock, signIn } = setUp(() => {
      throw refused()
    })
    await signIn()
    const view = session.for({ scope: 'read' })
    await expect(view.getAccessToken()).rejects.toMatchObject({ code: 'signed_out' })
    expect(session.state.status).toBe('signed-in')
    await expect(view.getAccessToken()).rejects.toMatchObject({ code: 'signed_out' })
    expect(session.state.status).toBe('signed-in')
    clock.advance(301_000)
    await expect(session.getAccessToken()).rejects.toMatchObject({ code: 'signed_out' })
    expect(session.state).toEqual({ status: 'signed-out', reason: 'refused' })
  })

  it('whose renewal fails for now is told so, and works later', async () => {
    let isDown = true
    const { session, clock, signIn } = setUp(() => {
      if (isDown) throw { status: 429, retryAfter: '5' }
      return { expires_in: 300 }
    })
    await signIn()
    const view = session.for({ scope: 'read' })
    await expect(view.getAccessToken()).rejects.toMatchObject({ code: 'unreachable' })
    isDown = false
    clock.advance(5001)
    expect(await view.getAccessToken()).toBe(secret('view-2'))
  })
})
