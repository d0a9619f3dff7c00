import type { ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { apiKey, createSession } from '../../src/index.ts'
import { access, listen, onlyToken, open, tokens } from './server.ts'

const leading =
  (status: number) =>
  ({ path }: { path: string }, response: ServerResponse) => {
    const to = new URL(path, 'http://localhost').searchParams.get('to')
    return to ? response.writeHead(status, { Location: to }) : undefined
  }
const from = (origin: string, to: string) => `${origin}/from?to=${encodeURIComponent(to)}`
const withKey = (resources: string) => createSession({ resources, grant: apiKey({ keys: 'k' }) })

describe('a redirect that Latchkey follows', () => {
  it('A: leaves the caller’s cookies and proxy credentials behind, as the platform does', async () => {
    const [api, evil] = [await listen(leading(302)), await listen()]
    const headers = { Cookie: 'a=1', 'Proxy-Authorization': 'Basic eDp5', Host: 'api.example.com', 'X-Own': '1' }
    await fetch(from(api.origin, evil.origin), { headers })
    await withKey(api.origin).fetch(from(api.origin, evil.origin), { headers })
    await withKey(api.origin).fetch(new Request(from(api.origin, evil.origin), { headers }))
    const [bare, ours, byRequest] = evil.seen
    expect(ours?.headers).toEqual(bare?.headers)
    expect(byRequest?.headers).toEqual(bare?.headers)
  })
  it('B: never leads to another scheme than http(s)', async () => {
    const api = await listen(leading(302))
    const url = from(api.origin, 'data:text/plain,evil')
    await expect(fetch(url)).rejects.toBeInstanceOf(TypeError)
    await expect(withKey(api.origin).fetch(url)).rejects.toBeInstanceOf(Error)
  })
  it.each([300, 304, 305])('C: is none with status %d, as for the platform', async status => {
    const api = await listen(leading(status))
    expect((await fetch(from(api.origin, '/to'))).status).toBe(status)
    expect((await withKey(api.origin).fetch(from(api.origin, '/to'))).status).toBe(status)
  })
})

it('D: the 401 of a foreign origin that a redirect led to renews nothing (pain 15)', async () => {
  const evil = await listen((_, response) => response.writeHead(401))
  const api = await listen(leading(302))
  const { session, renewals } = await open(api.origin)
  expect((await session.fetch(from(api.origin, evil.origin))).status).toBe(401)
  expect(renewals).toEqual([])
})

it('E: the next call after the 401 of a stream is fresh, also another stream', async () => {
  const api = await listen(onlyToken(2))
  const { session } = await open(api.origin, {
    grant: async () => {
      await new Promise(resolve => setTimeout(resolve, 50))
      return tokens(2)
    },
  })
  const upload = () => session.fetch(api.origin, { method: 'POST', body: new Blob(['x']).stream() })
  expect((await upload()).status).toBe(401)
  expect((await upload()).status).toBe(200)
})

it('F: attaches and predicates are told the method as it goes out', async () => {
  const api = await listen((_, response) => response.writeHead(401))
  const told: string[] = []
  const { session } = await open(api.origin, {
    attach: ({ method }, { accessToken }) => {
      told.push(method)
      return { Authorization: `DPoP ${accessToken}` }
    },
  })
  await session.fetch(api.origin, { method: 'post', body: 'a' })
  expect(new Set(told)).toEqual(new Set(['POST']))
})

it('G: { signal: null } takes the signal of a Request away, as for the platform', async () => {
  const api = await listen()
  const { session } = await open(api.origin)
  const request = new Request(api.origin, { signal: AbortSignal.abort() })
  expect((await fetch(request, { signal: null })).status).toBe(200)
  expect((await session.fetch(request, { signal: null })).status).toBe(200)
  expect(api.seen[1]?.headers.authorization).toBe(`Bearer ${access(1)}`)
})

it('H: without arguments, and with null, rejects as the platform does; its length is 1', async () => {
  const api = await listen()
  const { session } = await open(api.origin)
  await expect((session.fetch as () => Promise<unknown>)()).rejects.toBeInstanceOf(TypeError)
  await expect(session.fetch(null as never)).rejects.toBeInstanceOf(TypeError)
  expect(session.fetch.length).toBe(1)
})

it('I: a String object and what has a toString are URLs, as for the platform', async () => {
  const api = await listen()
  const { session } = await open(api.origin)
  await session.fetch({ toString: () => `${api.origin}/` } as never)
  expect(api.seen[0]?.headers.authorization).toBe(`Bearer ${access(1)}`)
})
it('J: a Request that says it goes to the API and does not gets no token (pain 15)', async () => {
  const [api, evil] = [await listen(), await listen()]
  const { session } = await open(api.origin)
  class Lying extends Request {
    override get url() {
      return `${api.origin}/`
    }
  }
  expect((await session.fetch(new Lying(evil.origin))).status).toBe(200)
  const duck = { headers: {}, url: `${api.origin}/`, toString: () => `${evil.origin}/` }
  expect((await session.fetch(duck as never)).status).toBe(200)
  expect(evil.seen.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined])
  expect(api.seen).toEqual([])
})

describe('K: a redirect that Latchkey follows, of a Request with', () => {
  it('a body by init keeps the Content-Type of that body', async () => {
    const api = await listen(leading(307))
    const call = () => [new Request(from(api.origin, '/to'), { method: 'POST' }), { body: '{}' }] as const
    await fetch(...call())
    await withKey(api.origin).fetch(...call())
    expect(api.seen[3]?.headers['content-type']).toBe(api.seen[1]?.headers['content-type'])
  })

  it('keepalive is followed', async () => {
    const api = await listen(leading(307))
    const call = () => new Request(from(api.origin, '/to'), { method: 'POST', body: 'a', keepalive: true })
    expect((await fetch(call())).status).toBe(200)
    expect((await withKey(api.origin).fetch(call())).status).toBe(200)
    expect(api.seen.map(({ body }) => body)).toEqual(['a', 'a', 'a', 'a'])
  })
})

it('L: header names keep their case over a redirect that Latchkey follows', async () => {
  const api = await listen(leading(303))
  const call = () => [from(api.origin, '/to'), { method: 'POST', headers: new Headers({ 'X-Own': '1' }) }] as const
  await fetch(...call())
  await withKey(api.origin).fetch(...call())
  expect(api.seen[1]?.rawHeaders).toContain('X-Own')
  expect(api.seen[3]?.rawHeaders).toContain('X-Own')
})

it('M: a fetch that follows by itself and does not say so is told as degraded, once (React Native’s)', async () => {
  const api = await listen(leading(302))
  const silent = (async (url: string, { redirect: _, ...init }: RequestInit) =>
    Object.defineProperty(await fetch(url, init), 'redirected', { value: undefined })) as typeof fetch
  const session = createSession({ resources: api.origin, grant: apiKey({ keys: 'k' }), fetch: silent })
  const told: unknown[] = []
  session.on('degraded', ({ what }) => told.push(what))
  for (let call = 0; call < 3; call++) expect((await session.fetch(from(api.origin, '/to'))).status).toBe(200)
  expect(told.filter(what => what === 'redirects')).toEqual(['redirects'])
})
