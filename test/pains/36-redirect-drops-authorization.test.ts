import { describe, expect, it } from 'vitest'
import { type Answer, access, listen, onlyToken, open } from '../fetch/server.ts'

// All statuses, custom headers and Chromium: test/fetch/redirects.test.ts.
const slash =
  (status: number): Answer =>
  (seen, response) =>
    seen.path === '/items' ? response.writeHead(status, { Location: '/items/' }) : onlyToken(1)(seen, response)

describe('pain 36: a missing trailing slash', () => {
  it.each([301, 302, 307, 308])('keeps Authorization over the redirect on the same origin (%d)', async status => {
    const api = await listen(slash(status))
    const { session, renewals } = await open(api.origin)
    expect((await session.fetch(`${api.origin}/items`)).status).toBe(200)
    expect(api.seen.map(({ path, headers }) => [path, headers.authorization])).toEqual([
      ['/items', `Bearer ${access(1)}`],
      ['/items/', `Bearer ${access(1)}`],
    ])
    expect(renewals).toEqual([])
  })

  it('costs one renewal and no loop on a platform that drops the header (iOS)', async () => {
    const api = await listen(slash(301))
    const dropping = (async (url: string, init: RequestInit) => {
      const response = await fetch(url, { ...init, redirect: 'manual' })
      const location = response.headers.get('location')
      return location ? fetch(new URL(location, url)) : response
    }) as typeof fetch
    const { session, renewals } = await open(api.origin, { fetch: dropping })
    const degraded: unknown[] = []
    session.on('degraded', event => degraded.push(event))
    const calls = Array.from({ length: 5 }, () => session.fetch(`${api.origin}/items`))
    for (const response of await Promise.all(calls)) expect(response.status).toBe(401)
    expect(renewals).toHaveLength(1)
    expect((await session.fetch(`${api.origin}/items`)).status).toBe(401)
    expect(renewals).toHaveLength(1) // a 401 on a token this young is the answer
    expect(api.seen.length).toBeLessThanOrEqual(5 * 4 + 2)
    expect(degraded).toEqual([{ what: 'redirects' }])
  })
})
