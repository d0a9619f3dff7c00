import { describe, expect, it } from 'vitest'
import { api } from '../servers/strict-authorization-server.ts'
import { canary, secret } from '../support/no-leaks.ts'
import { createRealm, createWorld, settle } from './support.ts'

async function signedIn() {
  const world = createWorld()
  const realm = createRealm(world)
  await realm.session.adopt(world.server.signIn())
  await settle()
  return { ...world, ...realm }
}

describe('pain 56: an app that keeps what it got at its start', () => {
  it('has a fetch that carries the token of the moment, also in a closure of last hour', async () => {
    const { session, clock, server } = await signedIn()
    // What a query library keeps and calls again and again.
    const { fetch } = session
    const query = () => fetch(`${api}/items`)
    for (let hour = 0; hour < 5; hour++) {
      expect((await query()).status).toBe(200)
      clock.advance(3_600_000)
    }
    expect(server.stats).toMatchObject({ renewals: 4, apiRefusals: 0 })
  })

  it('has no token in the state it renders, nor in any event', async () => {
    const { session, clock } = await signedIn()
    const seen: unknown[] = [session.state]
    session.subscribe(() => seen.push(session.state))
    for (const type of ['renewed', 'signed-out', 'request'] as const) session.on(type, payload => seen.push(payload))
    clock.advance(301_000)
    await session.fetch(api)
    await session.signOut()
    expect(seen.length).toBeGreaterThan(3)
    expect(JSON.stringify(seen)).not.toContain(canary)
  })

  it('gets a token or headers only by asking, and then those that are good now', async () => {
    const { session, clock, server } = await signedIn()
    for (let round = 1; round <= 3; round++) {
      expect(await session.getAccessToken()).toBe(secret(`access-${round}`))
      const headers = await session.authorizationHeaders(api)
      expect(headers).toEqual({ Authorization: `Bearer ${secret(`access-${round}`)}` })
      expect((await server.fetch(api, { headers })).status).toBe(200)
      clock.advance(301_000)
    }
  })
})
