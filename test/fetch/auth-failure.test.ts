import { describe, expect, it } from 'vitest'
import { type Answer, access, listen, open } from './server.ts'

type Judge = (response: Response, request: { method: string; url: string }) => boolean | Promise<boolean>

const isGood = (authorization: string | undefined) => authorization === `Bearer ${access(2)}`
const answering =
  (refuse: Answer): Answer =>
  (seen, response) =>
    isGood(seen.headers.authorization) ? response.writeHead(200).end(`{"data":"${seen.body}"}`) : refuse(seen, response)

const servers: readonly [what: string, refuse: Answer, isAuthFailure: Judge][] = [
  [
    'a GraphQL error in a 200',
    (_, response) => response.end('{"errors":[{"extensions":{"code":"UNAUTHENTICATED"}}]}'),
    async response => (await response.json()).errors?.[0].extensions.code === 'UNAUTHENTICATED',
  ],
  ['a 403', (_, response) => response.writeHead(403).end(), ({ status }) => status === 403],
  ['a 440, as IIS has it', (_, response) => response.writeHead(440).end(), ({ status }) => status === 440],
  [
    'a redirect to the page of the login',
    ({ path }, response) =>
      path === '/login' ? response.end('<form>') : response.writeHead(302, { Location: '/login' }).end(),
    ({ url }) => new URL(url).pathname === '/login',
  ],
  [
    'a 500 that says so',
    (_, response) => response.writeHead(500).end('JWT expired'),
    async response => (await response.text()).includes('JWT'),
  ],
]

describe('pain 52: a token is refused by', () => {
  it.each(servers)(
    '%s: one renewal for ten calls, and each is sent again with its body',
    async (_, refuse, isAuthFailure) => {
      const api = await listen(answering(refuse))
      const { session, renewals } = await open(api.origin, { isAuthFailure })
      const bodies = Array.from({ length: 10 }, (_, index) => `body-${index}`)
      const calls = bodies.map(body => session.fetch(`${api.origin}/items`, { method: 'POST', body }))
      const texts = await Promise.all(calls.map(async call => (await call).text()))
      expect(texts).toEqual(bodies.map(body => `{"data":"${body}"}`))
      expect(renewals).toHaveLength(1)
    },
  )

  it.each(servers)('%s: without a predicate it is an answer like any other, unread', async (_, refuse) => {
    const api = await listen(answering(refuse))
    const { session, renewals } = await open(api.origin)
    const bare = await fetch(`${api.origin}/items`)
    const response = await session.fetch(`${api.origin}/items`)
    expect([response.status, response.url, await response.text()]).toEqual([bare.status, bare.url, await bare.text()])
    expect(renewals).toEqual([])
  })
})

describe('pain 52: the predicate', () => {
  it('is told the method and the URL, and asked once for each answer but the second', async () => {
    const asked: unknown[] = []
    const api = await listen((_, response) => response.writeHead(403).end())
    const { session, renewals } = await open(api.origin, {
      isAuthFailure: ({ status }, request) => {
        asked.push([status, request])
        return true
      },
    })
    expect((await session.fetch(`${api.origin}/a?b=1`, { method: 'put', body: 'x' })).status).toBe(403)
    expect(asked).toEqual([[403, { method: 'PUT', url: `${api.origin}/a?b=1` }]])
    expect(renewals).toHaveLength(1)
  })

  it('decides alone: a 401 that it does not mind is the answer', async () => {
    const api = await listen((_, response) => response.writeHead(401).end('theirs'))
    const { session, renewals } = await open(api.origin, { isAuthFailure: () => false })
    const response = await session.fetch(api.origin)
    expect([response.status, await response.text(), renewals]).toEqual([401, 'theirs', []])
  })

  it('that reads part of an endless answer and then says no leaves the whole of it to the caller', async () => {
    const api = await listen((_, response) => {
      response.write('first')
      return new Promise(() => undefined)
    })
    const { session } = await open(api.origin, {
      isAuthFailure: async response => {
        const reader = response.body?.getReader()
        const { value } = (await reader?.read()) ?? {}
        // Not waited for: it ends when both copies are let go (Streams standard, ReadableStreamTee).
        void reader?.cancel()
        return new TextDecoder().decode(value) !== 'first'
      },
    })
    const response = await session.fetch(api.origin)
    const reader = response.body?.getReader()
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe('first')
    await reader?.cancel()
  })
})
