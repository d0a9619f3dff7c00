import { describe, expect, it } from 'vitest'
import { listen, open } from '../fetch/server.ts'

// The attack table, in Node and in Chromium: test/fetch/attacks.test.ts. Redirects: test/fetch/redirects.test.ts.
describe('pain 15: the access token is not sent to foreign origins', () => {
  it('and the 401 of one comes back as it is and renews nothing', async () => {
    const [api, foreign] = [await listen(), await listen((_, response) => response.writeHead(401).end('theirs'))]
    const { session, renewals } = await open(api.origin)
    const response = await session.fetch(`${foreign.origin}/?url=${api.origin}`)
    expect([response.status, await response.text()]).toEqual([401, 'theirs'])
    expect(foreign.seen.map(({ headers }) => headers.authorization)).toEqual([undefined])
    expect(renewals).toEqual([])
  })

  it('and neither is an expired one, nor does a foreign call wait for a renewal', async () => {
    const [api, foreign] = [await listen(), await listen()]
    const { session, renewals } = await open(api.origin, { expiresIn: 60 })
    expect((await session.fetch(foreign.origin)).status).toBe(200)
    expect([api.seen, renewals]).toEqual([[], []])
  })
})
