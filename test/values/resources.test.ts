import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createResourceMatcher, fetchBase, resourceHosts } from '../../src/values/resources.ts'

// What somebody may pass off as the API, and what only looks odd.
const attacks: [url: string, why: string][] = [
  ['https://api.example.com.evil.test/', 'the host is only the beginning of another'],
  ['https://evil.test/https://api.example.com/', 'the origin stands in the path'],
  ['https://evil.test/?https://api.example.com/', 'the origin stands in the query'],
  ['https://api.example.com@evil.test/', 'the host is a user name'],
  ['https://api.example.com:443@evil.test/', 'host and port are a user name and password'],
  ['https://api.example.com%2f@evil.test/', 'the host is an encoded user name'],
  ['https://evil.test\\@api.example.com/', 'a backslash ends the host'],
  ['https://evil.test#@api.example.com/', 'a hash ends the host'],
  ['https://notapi.example.com/', 'the host is only the end of another'],
  ['https://example.com/', 'the parent'],
  ['https://sub.api.example.com/', 'a child'],
  ['https://api.example.com./', 'a trailing dot is another host'],
  ['https://api.example.com:8443/', 'another port'],
  ['http://api.example.com/', 'not encrypted'],
  ['http://api.example.com:443/', 'not encrypted, on the port of https'],
  ['ws://api.example.com/', 'another scheme'],
  ['ftp://api.example.com/', 'another scheme'],
  ['blob:https://api.example.com/8a3c', 'a blob'],
  ['data:text/plain,https://api.example.com/', 'a data URL'],
  ['javascript:fetch("https://api.example.com/")', 'a script'],
  ['file:///api.example.com/', 'a file'],
  ['//evil.test/', 'relative to nothing here'],
  ['https:evil.test', 'no slashes'],
  ['https://аpi.example.com/', 'a Cyrillic a'],
  ['https://api.example.com\u0000.evil.test/', 'a null character'],
  ['', 'empty'],
  ['api.example.com', 'no scheme'],
  ['https://', 'no host'],
]
const same: [url: string, why: string][] = [
  ['https://api.example.com', 'no slash'],
  ['https://api.example.com/', 'the origin'],
  ['https://api.example.com/a?b#c', 'path, query, hash'],
  ['https://api.example.com?a', 'no path but a query'],
  ['HTTPS://API.EXAMPLE.COM/', 'upper case'],
  ['https://api.example.com:443/', 'the default port'],
  ['https:\\\\api.example.com\\items', 'backslashes that the platform takes for slashes'],
  [' https://api.example.com/ ', 'spaces around'],
  ['https://api.exam\tple.com/', 'a tab, which the platform drops'],
  ['https://api.example.com/\n', 'a line break at the end'],
  ['https://evil.test@api.example.com/', 'a user name'],
  ['https://ａｐｉ.example.com/', 'full width letters, which are the same host'],
  ['https:api.example.com/', 'no slashes, as the platform reads it'],
]

// Made in the tests: what is made while they are collected is not what they test.
const isOrigin = (url: string) => createResourceMatcher('https://api.example.com')(url)
const isPrefixed = (url: string) =>
  createResourceMatcher(['https://api.example.com/v1', new URL('https://files.example.com/up/')])(url)

describe('a resource that is an origin', () => {
  const isResource = isOrigin
  it.each(attacks)('never lets the token out to %j: %s', url => expect(isResource(url)).toBe(false))
  it.each(same)('is %j: %s', url => expect(isResource(url)).toBe(true))

  it('is what the platform’s fetch would call, for any URL made of odd parts', () => {
    const part = fc.constantFrom(
      ...['https:', 'http:', '//', '/', '\\', '@', ':', '443', '8443', 'api.example.com', 'evil.test', '.', '..'],
      ...['%2e', '%2f', '#', '?', ' ', '\t', '\u0000', 'API', 'user', '[::1]', 'ａ', 'blob:'],
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 10 }), parts => {
        const url = parts.join('')
        let origin: string | undefined
        try {
          const parsed = new URL(url)
          origin = parsed.protocol === 'https:' ? parsed.origin : undefined
        } catch {}
        expect(isResource(url)).toBe(origin === 'https://api.example.com')
      }),
      { numRuns: 2000 },
    )
  })
})

describe('a resource that is a URL prefix', () => {
  const isResource = isPrefixed

  it.each([
    ['https://api.example.com/v1'],
    ['https://api.example.com/v1/'],
    ['https://api.example.com/v1/items?x=/../'],
    ['https://api.example.com/v1?x'],
    ['https://api.example.com/x/../v1/items'],
    ['https://api.example.com/v1/%7Ehome/a%20b'],
    ['https://files.example.com/up/1'],
    ['https://files.example.com/up/'],
    ['https://api.example.com/v1/a%2f.b'],
    ['https://api.example.com/v1/a.%2fb'],
    ['https://api.example.com/v1/a%5C.b%5Cc.%2e'],
  ])('is %s', url => expect(isResource(url)).toBe(true))

  it.each([
    ['https://api.example.com/'],
    ['https://api.example.com/v10'],
    ['https://api.example.com/V1/items'],
    ['https://api.example.com/v1/../admin'],
    ['https://api.example.com/v1/./../admin'],
    ['https://api.example.com/v1/%2e%2e/admin'],
    ['https://api.example.com/v1/.%2E/admin'],
    ['https://api.example.com/v1\\..\\admin'],
    ['https://api.example.com/v1/..%2fadmin'],
    ['https://api.example.com/v1/..%5Cadmin'],
    ['https://api.example.com/v1%2fitems'],
    ['https://api.example.com//v1/items'],
    ['https://api.example.com.evil.test/v1/'],
    ['https://files.example.com/up'],
    ['https://files.example.com/v1/'],
  ])('is not %s', url => expect(isResource(url)).toBe(false))
})

describe('a resource that is a predicate', () => {
  const seen: string[] = []
  const isResource = (text: string) =>
    createResourceMatcher(url => {
      seen.push(url.href)
      return true
    })(text)

  it.each([
    ['http://api.example.com/'],
    ['http://127.0.0.1.evil.test/'],
    ['http://localhost.evil.test/'],
    ['blob:https://api.example.com/8a3c'],
    ['data:text/plain,x'],
    ['ws://api.example.com/'],
    ['not a url'],
  ])('never overrides the rule of https: %s', url => {
    expect(isResource(url)).toBe(false)
    expect(seen).toEqual([])
  })

  it('decides about what is encrypted or loopback, by the parsed URL', () => {
    for (const url of [
      'HTTPS://API.example.com:443/a/../b',
      'http://localhost:3000/',
      'http://127.1.2.3/',
      'http://[::1]:8/',
    ])
      expect(isResource(url)).toBe(true)
    expect(seen[0]).toBe('https://api.example.com/b')
  })

  it('counts only true', () => {
    const truthy = createResourceMatcher((() => 'yes') as unknown as (url: URL) => boolean)
    expect(truthy('https://api.example.com/')).toBe(false)
  })
})

it('dots that hide behind a slash matter below a prefix alone: an origin has no outside', () => {
  for (const url of ['https://api.example.com/a/..%2fb', 'HTTPS://API.example.com/a/..%2fb'])
    expect(isOrigin(url)).toBe(true)
})

it('the same URL twice is the same', () => {
  const isResource = createResourceMatcher('https://api.example.com')
  const urls = [
    'https://api.example.com/a',
    'https://api.example.com/a',
    'https://evil.test/',
    'https://api.example.com/a',
  ]
  expect(urls.map(isResource)).toEqual([true, true, false, true])
})

describe('resources that can not be meant', () => {
  it.each([
    ['http://api.example.com', /https:/],
    ['http://127.0.0.1.evil.test', /https:/],
    ['ftp://api.example.com', /http\(s\)/],
    ['blob:https://api.example.com/1', /http\(s\)/],
    ['', /Write/],
  ])('%j is misconfigured, and the message says what to write', (resource, message) => {
    expect(() => createResourceMatcher(resource)).toThrow(message)
    expect(() => createResourceMatcher([resource])).toThrow(expect.objectContaining({ code: 'misconfigured' }))
  })

  it('a scheme that is none of the web is told at once, also one that begins or goes on like it', () => {
    for (const resource of ['web3://x.example', 'xhttps://x.example', 'httpsx://x.example'])
      expect(() => createResourceMatcher(resource)).toThrow(/is no http\(s\) URL/)
  })

  it('a relative one with a colon is told where it is used', () => {
    expect(createResourceMatcher('/v1/a:b')).toBeTypeOf('function')
  })

  it('none at all is misconfigured', () => {
    expect(() => createResourceMatcher([])).toThrow(expect.objectContaining({ code: 'misconfigured' }))
  })

  it('a relative one without a document is misconfigured when it is used, not before', () => {
    const isResource = createResourceMatcher('/api')
    expect(() => isResource('https://api.example.com/')).toThrow(expect.objectContaining({ code: 'misconfigured' }))
  })
})

describe('without TLS', () => {
  it.each([
    ['http://localhost', true],
    ['http://localhost:3000', true],
    ['http://app.localhost:3000', true],
    ['http://127.0.0.1', true],
    ['http://127.255.0.1:80', true],
    ['http://[::1]', true],
    ['http://[::1]:8080', true],
    ['http://.localhost', false],
    ['http://notlocalhost', false],
    ['http://localhost.example', false],
    ['http://localhost:3000.example', false],
    ['http://128.0.0.1', false],
    ['http://10.127.0.0', false],
    ['http://[::2]', false],
    ['http://[::127.0.0.1]', false],
  ])('%s is a resource: %s', (resource, expected) => {
    const make = () => createResourceMatcher(resource)(`${resource}/x`)
    if (expected) expect(make()).toBe(true)
    else expect(make).toThrow(expect.objectContaining({ code: 'misconfigured' }))
  })
})

describe('a message about a resource shows it, and what to write', () => {
  it.each([
    ['ftp://files.example.com', /ftp:\/\/files\.example\.com is no http\(s\) URL.*'https:\/\/api\.example\.com\/v1'/],
    ['http://api.example.com', /http:\/\/api\.example\.com is not encrypted.*loopback/],
    ['', /^No resources.*resources: 'https:\/\/api\.example\.com'/],
  ])('%s', (resource, message) => expect(() => createResourceMatcher(resource)).toThrow(message))

  it('/v1', () => {
    const isResource = createResourceMatcher(['https://api.example.com', '/v1'])
    expect(() => isResource('https://other.example.com/')).toThrow(
      /\/v1 is relative and there is no document.*'https:\/\/api\.example\.com\/v1'/,
    )
  })

  it('one that is wrong is told at once, though another is relative', () => {
    expect(() => createResourceMatcher(['/v1', 'http://api.example.com'])).toThrow(/encrypted/)
  })
})

describe('in a document', () => {
  afterEach(() => vi.unstubAllGlobals())

  it('relative resources and URLs resolve where the platform resolves them', () => {
    const isResource = createResourceMatcher(['v1', 'https://api.example.com/v2/'])
    vi.stubGlobal('document', { baseURI: 'https://app.example.com/sub/page' })
    vi.stubGlobal('location', { href: 'https://elsewhere.example.com/' })
    for (const url of [
      'v1',
      './v1/items',
      '/sub/v1/x',
      'https://app.example.com/sub/v1',
      'https://api.example.com/v2/x',
    ])
      expect([url, isResource(url)]).toEqual([url, true])
    for (const url of ['', 'v10', '/v1', '../v1', 'https://app.example.com/v1', 'https://elsewhere.example.com/sub/v1'])
      expect([url, isResource(url)]).toEqual([url, false])
    expect(fetchBase()).toBe('https://app.example.com/sub/page')
    expect(resourceHosts('v1')).toBe('app.example.com')
  })

  it('an insecure one makes no relative resource', () => {
    const isResource = createResourceMatcher('/v1')
    vi.stubGlobal('document', { baseURI: 'http://app.example.com/' })
    expect(() => isResource('/v1')).toThrow(/encrypted/)
  })

  it('a worker has a location alone: URLs resolve against it, resources do not', () => {
    const [isAbsolute, isRelative] = [createResourceMatcher('https://app.example.com/v1'), createResourceMatcher('/v1')]
    vi.stubGlobal('location', { href: 'https://app.example.com/worker.js' })
    expect(fetchBase()).toBe('https://app.example.com/worker.js')
    expect([isAbsolute('/v1/x'), isAbsolute('/v2'), isAbsolute('v1')]).toEqual([true, false, true])
    expect(() => isRelative('/v1')).toThrow(expect.objectContaining({ code: 'misconfigured' }))
  })

  it('a predicate is asked about the resolved URL', () => {
    const isResource = createResourceMatcher(({ href }) => href === 'https://app.example.com/v1')
    vi.stubGlobal('document', { baseURI: 'https://app.example.com/' })
    expect([isResource('/v1'), isResource('/v2')]).toEqual([true, false])
  })
})

describe('the hosts of resources', () => {
  it.each([
    ['https://api.example.com/v1', 'api.example.com'],
    [new URL('https://api.example.com:8443/'), 'api.example.com:8443'],
    [
      ['https://b.example.com', 'http://localhost:3000', 'https://a.example.com'],
      'a.example.com,b.example.com,localhost:3000',
    ],
    ['/v1', '/v1'],
    [() => true, undefined],
  ] as const)('%s: %s', (resources, expected) => expect(resourceHosts(resources)).toBe(expected))
})
