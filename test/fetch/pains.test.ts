import { describe, expect, it, onTestFinished } from 'vitest'
import { createSession } from '../../src/index.ts'
import { dpop } from '../../src/oauth.ts'
import { type Answer, access, listen, open, tokens } from './server.ts'

describe('pain 15: a redirect that leads out of the resources', () => {
  const leading: Answer = ({ path }, response) => {
    const to = new URL(path, 'http://localhost').searchParams.get('to')
    return to ? response.writeHead(307, { Location: to }) : undefined
  }

  it.each(['url + init', 'Request'])('takes neither Authorization nor the DPoP proof along, by %s', async way => {
    const [api, evil] = [await listen(leading), await listen(leading)]
    const session = createSession({ resources: api.origin, grant: async () => tokens(2), attach: dpop() })
    onTestFinished(() => session.dispose())
    await session.adopt({ ...tokens(1), token_type: 'DPoP' })
    const to = `${evil.origin}/a?to=${encodeURIComponent(`${api.origin}/back`)}`
    const url = `${api.origin}/from?to=${encodeURIComponent(to)}`
    const init = { method: 'POST', body: 'a' }
    const answer = way === 'Request' ? session.fetch(new Request(url, init)) : session.fetch(url, init)
    expect((await answer).status).toBe(200)
    expect(evil.seen).toHaveLength(1)
    expect(evil.seen[0]?.body).toBe('a')
    expect(evil.seen[0]?.headers).not.toHaveProperty('authorization')
    expect(evil.seen[0]?.headers).not.toHaveProperty('dpop')
    // Each hop inside has a proof of its own, for its own URL (RFC 9449 §4.2).
    const claims = api.seen.map(({ headers }) => JSON.parse(atob(String(headers.dpop).split('.')[1] ?? '')))
    expect(claims.map(({ htu }) => new URL(htu).pathname)).toEqual(['/from', '/back'])
    expect(api.seen.map(({ headers }) => headers.authorization)).toEqual(Array(2).fill(`DPoP ${access(1)}`))
  })
})

describe('pain 42: tokens for what is no fetch', () => {
  it('are asked for by twenty connections at once, at the cost of one renewal, and told once', async () => {
    const api = await listen()
    const { session, renewals } = await open(api.origin, { expiresIn: 60, agoMs: 50_000 })
    const told: unknown[] = []
    session.on('renewed', event => told.push(event.how))
    const asked = Array.from({ length: 20 }, (_, index) =>
      index % 2
        ? session.getAccessToken({ minValidityMs: 30_000 })
        : session.authorizationHeaders(api.origin).then(() => session.getAccessToken({ minValidityMs: 30_000 })),
    )
    expect(new Set(await Promise.all(asked))).toEqual(new Set([access(2)]))
    expect([renewals.length, told]).toEqual([1, ['renewed']])
  })

  it('are none for what lies outside the resources', async () => {
    const [api, other] = [await listen(), await listen()]
    const { session } = await open(api.origin)
    expect(await session.authorizationHeaders(`${api.origin}/stream`)).toEqual({ Authorization: `Bearer ${access(1)}` })
    for (const url of [other.origin, `${api.origin.replace('http', 'ws')}/socket`, '//evil.test/']) {
      expect(await session.authorizationHeaders(url).catch(error => error.name)).toEqual({})
    }
  })
})

describe('pain 60: a client that tries again whatever it was', () => {
  it('costs one renewal of a live session, and sees the 401 of a server that takes no token twice at most for each try', async () => {
    const api = await listen((_, response) => response.writeHead(401))
    const { session, renewals } = await open(api.origin)
    const answers: number[] = []
    for (let attempt = 0; attempt < 4; attempt++) answers.push((await session.fetch(api.origin)).status)
    expect(answers).toEqual([401, 401, 401, 401])
    expect(renewals).toHaveLength(1)
    expect(api.seen).toHaveLength(5)
  })
})
