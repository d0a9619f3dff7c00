import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createResourceMatcher } from '../../src/values/resources.ts'

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

describe('a resource that is an origin', () => {
  const isResource = createResourceMatcher('https://api.example.com')
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
  const isResource = createResourceMatcher(['https://api.example.com/v1', new URL('https://files.example.com/up/')])

  it.each([
    ['https://api.example.com/v1'],
    ['https://api.example.com/v1/'],
    ['https://api.example.com/v1/items?x=/../'],
    ['https://api.example.com/v1?x'],
    ['https://api.example.com/x/../v1/items'],
    ['https://api.example.com/v1/%7Ehome/a%20b'],
    ['https://files.example.com/up/1'],
    ['https://files.example.com/up/'],
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
  const isResource = createResourceMatcher(url => {
    seen.push(url.href)
    return true
  })

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

  it('none at all is misconfigured', () => {
    expect(() => createResourceMatcher([])).toThrow(expect.objectContaining({ code: 'misconfigured' }))
  })

  it('a relative one without a document is misconfigured when it is used, not before', () => {
    const isResource = createResourceMatcher('/api')
    expect(() => isResource('https://api.example.com/')).toThrow(expect.objectContaining({ code: 'misconfigured' }))
  })
})
