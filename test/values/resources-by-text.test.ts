import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type * as Resources from '../../src/values/resources.ts'

/** As React Native has had it: parses, and normalises nothing. */
class PoorUrl {
  readonly protocol = 'https:'
  readonly origin: string
  readonly pathname: string
  readonly href: string
  constructor(href: string) {
    this.href = href
    const [, origin = '', pathname = '/'] = /^(\w+:\/\/[^/]*)(.*)$/.exec(href) ?? []
    this.origin = origin
    this.pathname = pathname
  }
}
class ThrowingUrl {
  constructor() {
    throw new Error('not implemented')
  }
}
/** Right about the origin, and not about the path. */
class HalfUrl {
  readonly origin = 'https://example.com'
  readonly pathname = '/a/../b/../c'
}

/** Right about the path, and not about the origin. */
class OtherHalfUrl {
  readonly origin = 'https://EXAMPLE.com'
  readonly pathname = '/c'
}

afterEach(() => {
  vi.unstubAllGlobals()
  vi.resetModules()
})

it('a URL that normalises is believed', async () => {
  vi.resetModules()
  const { createResourceMatcher } = await import('../../src/values/resources.ts')
  const isResource = createResourceMatcher('https://api.example.com/v1')
  const odd = [
    'HTTPS://user@API.example.com:443/x/../v1',
    'https://api.example.com/x/%2e%2E/v1',
    'https:api.example.com/v1',
  ]
  for (const url of odd) expect([url, isResource(url)]).toEqual([url, true])
  expect(createResourceMatcher(() => true)('https://api.example.com/')).toBe(true)
})

describe.each([
  ['normalises nothing', PoorUrl],
  ['throws', ThrowingUrl],
  ['normalises no path', HalfUrl],
  ['normalises no origin', OtherHalfUrl],
])('where the platform’s URL %s', (_what, Url) => {
  let resources: typeof Resources
  beforeEach(async () => {
    vi.resetModules()
    resources = await import('../../src/values/resources.ts')
    vi.stubGlobal('URL', Url)
  })

  it('a URL is what it reads, where no parser would read it otherwise', () => {
    const isResource = resources.createResourceMatcher('https://api.example.com/v1')
    for (const rest of ['', '/', '/items', '/items?x=1', '?x', '#x', '/a-b_c~d', '/a.b', '/x:4430/'])
      expect([rest, isResource(`https://api.example.com/v1${rest}`)]).toEqual([rest, true])
    const odd = [
      ...['/..', '/./x', '/.', '/%2e%2e/x', '/%2E', '\\x', ' ', '/x y', '/\tx', '/x\n', '/\u0000', '/\u001f'],
      ...['/:443', '/:443/', '/:80', '/:80/x', '0', '.evil.test', '/..%2fadmin'],
    ]
    for (const rest of odd) expect([rest, isResource(`https://api.example.com/v1${rest}`)]).toEqual([rest, false])
    const elsewhere = [
      ...[
        'https://api.example.com',
        'https://api.example.com/',
        'https://api.example.com/v2',
        'https://API.example.com/v1',
      ],
      ...['HTTPS://api.example.com/v1', 'http://api.example.com/v1', 'https://user@api.example.com/v1', 'https:///v1'],
      ...[
        'https://api.example.com:8443/v1',
        'https://api.example.com@evil.test/v1',
        '/v1',
        'v1',
        '',
        'xhttps://api.example.com/v1',
      ],
      ...[
        'https:/api.example.com/v1',
        'https://äpi.example.com/v1',
        'https://api.example.com:x/v1',
        'https://api.example.com:/v1',
      ],
    ]
    for (const url of elsewhere) expect([url, isResource(url)]).toEqual([url, false])
  })

  it('ports and loopback addresses are told apart', () => {
    const isResource = resources.createResourceMatcher([
      'https://api.example.com:8443/v1',
      'http://localhost:3000/v1',
      'http://[::1]:8/v1',
      'http://127.0.0.1/v1',
    ])
    for (const url of [
      'https://api.example.com:8443/v1/x',
      'http://localhost:3000/v1/x',
      'http://[::1]:8/v1/x',
      'http://127.0.0.1/v1/x',
    ])
      expect([url, isResource(url)]).toEqual([url, true])
    for (const url of ['https://api.example.com/v1/x', 'http://localhost:3001/v1/x', 'http://[::1]/v1/x'])
      expect([url, isResource(url)]).toEqual([url, false])
  })

  it('what it can not read is misconfigured as a resource, and no URL for a predicate', () => {
    for (const resource of ['https://API.example.com', 'https://api.example.com:443', 'https://x@y/', 'ftp://x/'])
      expect(() => resources.createResourceMatcher(resource)).toThrow(
        expect.objectContaining({ code: 'misconfigured' }),
      )
    expect(() => resources.createResourceMatcher('http://api.example.com')).toThrow(/encrypted/)
    // It would be asked with a URL that nobody can trust.
    expect(resources.createResourceMatcher(() => true)('https://api.example.com/')).toBe(false)
  })

  it('an origin is a resource as everywhere', () => {
    const isResource = resources.createResourceMatcher('https://api.example.com')
    for (const rest of ['', '/', '/items', '?x', '/a/..%2fb'])
      expect(isResource(`https://api.example.com${rest}`)).toBe(true)
    expect(isResource('https://api.example.com.evil.test/')).toBe(false)
    expect(resources.resourceHosts(['https://b.example.com/v1', 'https://a.example.com:8'])).toBe(
      'a.example.com:8,b.example.com',
    )
  })
})
