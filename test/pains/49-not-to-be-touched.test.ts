import { describe, expect, it } from 'vitest'
import { createSession } from '../../src/index.ts'
import { access, listen, open, tokens } from '../fetch/server.ts'

describe('pain 49: requests that are not Latchkey’s', () => {
  it.each([
    ['an object', (url: string) => [url, { headers: { authorization: 'Basic eDp5' } }] as const],
    ['another case', (url: string) => [url, { headers: { AUTHORIZATION: 'Basic eDp5' } }] as const],
    ['an array', (url: string) => [url, { headers: [['Authorization', 'Basic eDp5']] as [string, string][] }] as const],
    ['a Headers', (url: string) => [url, { headers: new Headers({ Authorization: 'Basic eDp5' }) }] as const],
    ['a Request', (url: string) => [new Request(url, { headers: { Authorization: 'Basic eDp5' } })] as const],
    ['a Request + init', (url: string) => [new Request(url), { headers: { Authorization: 'Basic eDp5' } }] as const],
  ])('the caller’s own Authorization in %s wins, and its 401 is the caller’s', async (_, make) => {
    const api = await listen((_, response) => response.writeHead(401).end('no'))
    const { session, renewals } = await open(api.origin, { expiresIn: 60 })
    const [input, init] = make(`${api.origin}/`)
    const response = await session.fetch(input, init as RequestInit)
    expect([response.status, await response.text()]).toEqual([401, 'no'])
    expect(api.seen.map(({ headers }) => headers.authorization)).toEqual(['Basic eDp5'])
    expect(renewals).toEqual([])
  })

  it('a signed-out session that sends anonymously leaves the 401 to the caller, and nothing is renewed', async () => {
    const api = await listen((_, response) => response.writeHead(401))
    const { session, renewals } = await open(api.origin, { whenSignedOut: 'send-anonymously' })
    await session.signOut()
    expect((await session.fetch(api.origin)).status).toBe(401)
    expect(api.seen.map(({ headers }) => headers.authorization)).toEqual([undefined])
    expect(renewals).toEqual([])
  })

  it('a path outside of a resource with a path is public: no token, and its 401 renews nothing', async () => {
    const api = await listen((_, response) => response.writeHead(401))
    const { session, renewals } = await open(`${api.origin}/v1`)
    for (const path of ['/', '/v1/../login', '/v10', '/login?next=/v1']) {
      expect((await session.fetch(api.origin + path)).status).toBe(401)
    }
    expect(api.seen.filter(({ headers }) => headers.authorization)).toEqual([])
    expect(renewals).toEqual([])
  })

  it('the token endpoint on the API’s own origin gets no access token, and its 401 starts no second renewal', async () => {
    const api = await listen(({ path }, response) => (path === '/token' ? response.writeHead(401) : undefined))
    let renewals = 0
    const session = createSession({
      resources: api.origin,
      grant: async (_, { fetch }) => {
        renewals++
        throw await fetch(`${api.origin}/token`, { method: 'POST' })
      },
    })
    await session.adopt(tokens(1, 60), { obtainedAtMs: Date.now() - 61_000 })
    await expect(session.fetch(api.origin)).rejects.toMatchObject({ name: 'SessionError' })
    const sent = api.seen.filter(({ path }) => path === '/token')
    expect(sent.length).toBeGreaterThan(0)
    expect(sent.filter(({ headers }) => headers.authorization)).toEqual([])
    expect(renewals).toBe(sent.length)
    expect(api.seen.some(({ headers }) => headers.authorization === `Bearer ${access(1)}`)).toBe(false)
  })
})
