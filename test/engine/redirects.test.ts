import { afterEach, describe, expect, it, vi } from 'vitest'
import { followRedirects, isElsewhere } from '../../src/engine/redirects.ts'
import { type Outgoing, takeOver } from '../../src/values/outgoing.ts'

afterEach(() => vi.unstubAllGlobals())

const url = 'https://api.example.com/a?query=secret'

/** An answer as fetch gives it: with the URL that it came from. */
function answer(status: number, location?: string, more: object = {}): Response {
  const response = new Response(null, { status, headers: location === undefined ? {} : { location } })
  for (const [name, value] of Object.entries({ ...more })) Object.defineProperty(response, name, { value })
  return response
}

function follow(answers: Response[] | ((request: Outgoing) => Response), init?: RequestInit) {
  const sent: string[] = []
  const discarded: Response[] = []
  const onIgnored = vi.fn()
  const first = takeOver(url, init) as Outgoing
  const result = followRedirects(first, {
    send: async request => {
      sent.push(`${request.method} ${request.url}`)
      return typeof answers === 'function' ? answers(request) : (answers.shift() as Response)
    },
    discard: response => void discarded.push(response),
    onIgnored,
  })
  return { result, sent, discarded, onIgnored }
}

describe('a redirect', () => {
  it.each([301, 302, 303, 307, 308])('by %d is followed, relative to where it came from', async status => {
    const end = answer(200)
    const hops = [answer(status, '/b'), answer(status, 'c#hash'), end]
    const { result, sent, discarded, onIgnored } = follow([...hops])
    expect(await result).toBe(end)
    expect(sent).toEqual([
      'GET https://api.example.com/a?query=secret',
      'GET https://api.example.com/b',
      'GET https://api.example.com/c#hash',
    ])
    expect(discarded).toEqual(hops.slice(0, 2))
    expect(onIgnored).not.toHaveBeenCalled()
  })

  it.each([
    [200, '/b'],
    [201, '/b'],
    [300, '/b'],
    [304, '/b'],
    [305, '/b'],
    [307, undefined],
    [400, '/b'],
  ])('is none with status %d and location %s', async (status, location) => {
    const only = answer(status, location)
    const { result, sent, discarded } = follow([only])
    expect(await result).toBe(only)
    expect([sent.length, discarded]).toEqual([1, []])
  })

  it.each([
    'data:text/plain,x',
    'blob:https://api.example.com/1',
    'file:///etc/passwd',
    'xhttps://x.example/',
    'httpsx://x/',
  ])('never leads to %s', async location => {
    const { result, sent, discarded } = follow([answer(302, location)])
    await expect(result).rejects.toMatchObject({ code: 'redirect_refused' })
    expect([sent.length, discarded.length]).toEqual([1, 1])
  })

  it('may lead from https to http, whose credential is another’s to judge', async () => {
    const { result, sent } = follow([answer(302, 'http://localhost:1/'), answer(200)])
    expect((await result).status).toBe(200)
    expect(sent[1]).toBe('GET http://localhost:1/')
  })

  it('that the platform hides is an error that says why, without the query', async () => {
    const { result } = follow([answer(200, undefined, { type: 'opaqueredirect' })])
    await expect(result).rejects.toMatchObject({
      code: 'redirect_refused',
      message:
        "GET https://api.example.com/a redirects, and its credential must not go along unseen. Call the final URL, or set redirects: 'platform'.",
    })
  })

  it('is followed twenty times', async () => {
    let left = 20
    const { result, sent } = follow(() => (left-- ? answer(302, '/a#x') : answer(200)))
    expect((await result).status).toBe(200)
    expect(sent).toHaveLength(21)
  })

  it('and not once more', async () => {
    const { result, sent } = follow(() => answer(302, '/a#x'))
    await expect(result).rejects.toMatchObject({
      code: 'redirect_refused',
      message: expect.stringContaining('GET https://api.example.com/a redirects more than 20 times. Call'),
    })
    expect(sent).toHaveLength(21)
  })

  it('does not send a stream twice', async () => {
    const { result, sent } = follow([answer(307, '/b')], { method: 'POST', body: new ReadableStream() })
    await expect(result).rejects.toMatchObject({ code: 'redirect_refused', message: expect.stringContaining('POST') })
    expect(sent).toHaveLength(1)
  })
})

describe('a fetch that follows although it was told not to is told', () => {
  it.each([
    ['by its own flag', { redirected: true, url }],
    ['by its URL', { url: 'https://api.example.com/b' }],
  ])('%s', async (_what, more) => {
    const { result, onIgnored } = follow([answer(200, undefined, more)])
    await result
    expect(onIgnored).toHaveBeenCalledTimes(1)
  })

  it.each([
    ['https://api.example.com/a', '', false],
    ['https://api.example.com/a', 'https://api.example.com/a', false],
    ['https://api.example.com/a#one', 'https://api.example.com/a#two', false],
    ['https://api.example.com/a#one#two', 'https://api.example.com/a', false],
    ['HTTPS://API.example.com:443/a', 'https://api.example.com/a', false],
    ['https://api.example.com/a', 'https://api.example.com/a?b', true],
    ['https://api.example.com/a', 'https://api.example.com/b', true],
    ['/a', 'https://api.example.com/a', false],
    ['/a', 'https://api.example.com/b', true],
  ])('%s is answered by %s, elsewhere: %s', (asked, answered, expected) => {
    expect(isElsewhere(asked, answered)).toBe(expected)
  })

  it('by a URL that resolves against the document', () => {
    vi.stubGlobal('location', { href: 'https://app.example.com/' })
    expect(isElsewhere('/a', 'https://app.example.com/a')).toBe(false)
    expect(isElsewhere('/a', 'https://api.example.com/a')).toBe(true)
  })
})
