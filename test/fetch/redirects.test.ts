import { chromium } from 'playwright'
import { beforeAll, describe, expect, inject, it, onTestFinished } from 'vitest'
import { apiKey, createSession, type SessionOptions } from '../../src/index.ts'
import { secret } from '../support/no-leaks.ts'
import { bundle, html } from './page.ts'
import { type Answer, access, listen, open } from './server.ts'

const key = secret('the-key')
const statuses = [301, 302, 303, 307, 308]

let script = ''
beforeAll(async () => {
  script = await bundle()
})

/** `/from?to=<url>&status=302` leads there; anything else is answered with 200. With the CORS of a careless server. */
const redirecting: Answer = ({ path, method, headers: { host } }, response) => {
  if (path === '/page') return response.setHeader('Content-Type', 'text/html').end(html(`http://${host}`))
  if (path === '/latchkey.js') return response.setHeader('Content-Type', 'text/javascript').end(script)
  const query = new URL(path, 'http://localhost').searchParams
  const headers = {
    'Access-Control-Allow-Origin': '*',
    'Access-Control-Allow-Headers': '*, authorization',
    'Access-Control-Allow-Methods': '*',
  }
  if (method === 'OPTIONS') return response.writeHead(204, headers).end()
  const to = query.get('to')
  if (to === null) return response.writeHead(200, headers)
  return response.writeHead(Number(query.get('status') ?? 302), { ...headers, Location: to })
}
const from = (origin: string, to: string, status = 302) =>
  `${origin}/from?status=${status}&to=${encodeURIComponent(to)}`

async function openWithKey(origins: string | string[], options: Partial<SessionOptions<void>> = {}) {
  const session = createSession({ resources: origins, grant: apiKey({ keys: key }), ...options })
  onTestFinished(() => session.dispose())
  return session
}

describe('36: Authorization over a redirect, as the platform does it', () => {
  it.each(statuses)('stays on the same origin (%d)', async status => {
    const api = await listen(redirecting)
    const { session } = await open(api.origin)
    const response = await session.fetch(from(api.origin, '/to', status), { method: 'POST', body: 'a' })
    expect([response.status, new URL(response.url).pathname]).toEqual([200, '/to'])
    expect(api.seen.map(({ headers }) => headers.authorization)).toEqual(Array(2).fill(`Bearer ${access(1)}`))
  })

  it.each(statuses)('never reaches another origin (%d), also where that is a resource', async status => {
    const [api, evil] = [await listen(redirecting), await listen()]
    for (const resources of [api.origin, [api.origin, evil.origin]]) {
      const { session } = await open(resources)
      const response = await session.fetch(from(api.origin, `${evil.origin}/to`, status), { method: 'POST', body: 'a' })
      expect(response.status).toBe(200)
    }
    expect(evil.seen.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined])
  })

  it('never reaches another origin when a Request was given, and none when the redirect comes on the second send', async () => {
    const evil = await listen()
    const api = await listen((seen, response) =>
      seen.headers.authorization === `Bearer ${access(1)}` ? response.writeHead(401) : redirecting(seen, response),
    )
    const { session } = await open(api.origin)
    await session.fetch(new Request(from(api.origin, evil.origin, 307), { method: 'POST', body: 'a' }))
    expect(api.seen.map(({ headers }) => headers.authorization)).toEqual([`Bearer ${access(1)}`, `Bearer ${access(2)}`])
    expect(evil.seen).toMatchObject([{ method: 'POST', body: 'a' }])
    expect(evil.seen[0]?.headers).not.toHaveProperty('authorization')
  })

  it('and the 401 of a foreign origin that a redirect led to costs one renewal at most', async () => {
    const evil = await listen((_, response) => response.writeHead(401))
    const api = await listen(redirecting)
    const { session, renewals } = await open(api.origin)
    expect((await session.fetch(from(api.origin, evil.origin))).status).toBe(401)
    expect(renewals.length).toBeLessThanOrEqual(1)
    expect(evil.seen.filter(({ headers }) => headers.authorization)).toEqual([])
  })
})

describe('a key in a header of its own over a redirect, followed by Latchkey', () => {
  it.each(statuses)(
    'stays on the same origin (%d), and method and body become what the platform makes of them',
    async status => {
      const api = await listen(redirecting)
      const init = { method: 'POST', body: '{"a":1}', headers: { 'Content-Type': 'application/json', 'X-Own': '1' } }
      await fetch(from(api.origin, '/to', status), init)
      const [, bare] = api.seen.splice(0)
      for (const input of [undefined, new Request(from(api.origin, '/to', status), init)]) {
        const session = await openWithKey(api.origin)
        const response = await (input ? session.fetch(input) : session.fetch(from(api.origin, '/to', status), init))
        expect(response.status).toBe(200)
        const [first, second, ...more] = api.seen.splice(0)
        expect(more).toEqual([])
        expect([first?.headers['x-api-key'], second?.headers['x-api-key']]).toEqual([key, key])
        const { 'x-api-key': _, ...headers } = second?.headers ?? {}
        // The body of a Request is a stream to whoever sends it elsewhere: its length is not told.
        const sized = ({ 'content-length': _length, 'transfer-encoding': _coding, ...rest }: typeof headers) =>
          input ? rest : headers
        expect({ ...second, headers: sized(headers), rawHeaders: [] }).toEqual({
          ...bare,
          headers: sized(bare?.headers ?? {}),
          rawHeaders: [],
        })
      }
    },
  )

  it.each(statuses)('never reaches another origin (%d)', async status => {
    const [api, evil] = [await listen(redirecting), await listen()]
    const session = await openWithKey(api.origin)
    for (const input of [
      from(api.origin, `${evil.origin}/a`, status),
      new Request(from(api.origin, `${evil.origin}/b`, status)),
    ]) {
      expect((await session.fetch(input)).status).toBe(200)
    }
    expect(evil.seen.map(({ path }) => path)).toEqual(['/a', '/b'])
    expect(evil.seen.filter(({ headers }) => headers['x-api-key'])).toEqual([])
  })

  it('reaches another origin of the resources, and the own one again after a foreign one', async () => {
    const [api, other, evil] = [await listen(redirecting), await listen(redirecting), await listen(redirecting)]
    const session = await openWithKey([api.origin, other.origin])
    await session.fetch(from(api.origin, from(evil.origin, `${other.origin}/`)))
    const keys = [api, evil, other].map(({ seen }) => seen.map(({ headers }) => headers['x-api-key']))
    expect(keys).toEqual([[key], [undefined], [key]])
  })

  it('ends after 20 hops, with an explanation', async () => {
    const api = await listen((_, response) => response.writeHead(302, { Location: '/again' }))
    const session = await openWithKey(api.origin)
    const error = await session.fetch(`${api.origin}/?secret=1`).catch(error => error)
    expect(error).toMatchObject({
      name: 'SessionError',
      code: 'redirect_refused',
      message: expect.stringContaining('20 times'),
    })
    expect(error.message).not.toContain('secret')
    expect(api.seen).toHaveLength(21)
  })

  it.each(['manual', 'error'] as const)('leaves the caller’s own %s to the platform', async redirect => {
    const api = await listen(redirecting)
    const session = await openWithKey(api.origin)
    const url = from(api.origin, '/to')
    const facts = (work: Promise<Response>) =>
      work.then(
        ({ status, type }) => [status, type],
        error => [error.constructor, error.message],
      )
    expect(await facts(session.fetch(url, { redirect }))).toEqual(await facts(fetch(url, { redirect })))
  })

  it('does not send a stream twice: the redirect of one is refused', async () => {
    const api = await listen(redirecting)
    const session = await openWithKey(api.origin)
    const body = new Blob(['a']).stream()
    await expect(session.fetch(from(api.origin, '/to', 307), { method: 'POST', body })).rejects.toMatchObject({
      code: 'redirect_refused',
    })
    expect(api.seen).toHaveLength(1)
  })

  it('goes along wherever it leads with redirects: "platform"', async () => {
    const [api, other] = [await listen(redirecting), await listen()]
    const session = await openWithKey(api.origin, { redirects: 'platform' })
    await session.fetch(from(api.origin, other.origin))
    expect(other.seen[0]?.headers['x-api-key']).toBe(key)
  })

  it('and a fetch that follows although it was told not to is told once, as degraded', async () => {
    const api = await listen(redirecting)
    const deaf = ((url: string, { redirect: _, ...init }: RequestInit) => fetch(url, init)) as typeof fetch
    const session = await openWithKey(api.origin, { fetch: deaf })
    const told: unknown[] = []
    session.on('degraded', ({ what }) => told.push(what))
    for (let call = 0; call < 3; call++) expect((await session.fetch(from(api.origin, '/to'))).status).toBe(200)
    expect(told.filter(what => what === 'redirects')).toEqual(['redirects'])
  })
})

describe('in Chromium', () => {
  async function openPage(origin: string) {
    const browser = await chromium.launch(inject('chromium'))
    onTestFinished(() => browser.close())
    const page = await browser.newPage()
    await page.goto(`${origin}/page`)
    return page
  }

  it('36: Authorization stays on the same origin and never reaches another, whatever its preflight allows', async () => {
    const [api, evil] = [await listen(redirecting), await listen(redirecting)]
    const page = await openPage(api.origin)
    const urls = statuses.flatMap(status => [
      from(api.origin, '/to', status),
      from(api.origin, `${evil.origin}/to`, status),
    ])
    const outcomes = await page.evaluate(
      async ([urls, token]) => {
        const session = latchkey.createSession({
          resources: location.origin,
          grant: async () => ({ access_token: token }),
        })
        await session.adopt({ access_token: token })
        const outcomes: unknown[] = []
        for (const url of urls) {
          outcomes.push(await session.fetch(url).then((response: Response) => response.status, String))
        }
        return outcomes
      },
      [urls, access(1)] as const,
    )
    expect(outcomes).toEqual(urls.map(() => 200))
    const own = api.seen.filter(({ path }) => path === '/to')
    expect(own.map(({ headers }) => headers.authorization)).toEqual(statuses.map(() => `Bearer ${access(1)}`))
    const foreign = evil.seen.filter(({ method }) => method === 'GET')
    expect(foreign.map(({ headers }) => headers.authorization)).toEqual(statuses.map(() => undefined))
  })

  it('a key in a header of its own: the redirect is an error that explains itself, and goes along with "platform"', async () => {
    const [api, evil] = [await listen(redirecting), await listen(redirecting)]
    const page = await openPage(api.origin)
    const call = (redirects: 'safe' | 'platform', to: string) =>
      page.evaluate(
        async ([redirects, url, key]) => {
          const session = latchkey.createSession({
            resources: location.origin,
            grant: latchkey.apiKey({ keys: key }),
            redirects,
          })
          return session.fetch(url).then(
            (response: Response) => ({ status: response.status }),
            ({ name, code, message }: Error & { code: string }) => ({ name, code, message }),
          )
        },
        [redirects, from(api.origin, to), key] as const,
      )
    for (const to of ['/to', `${evil.origin}/to`]) {
      expect(await call('safe', to)).toMatchObject({
        name: 'SessionError',
        code: 'redirect_refused',
        message: expect.stringContaining("redirects: 'platform'"),
      })
    }
    expect(evil.seen).toEqual([])
    expect(await call('platform', '/to')).toEqual({ status: 200 })
    expect(api.seen.at(-1)?.headers['x-api-key']).toBe(key)
  })
})
