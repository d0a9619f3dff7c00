import { SessionError } from './errors.ts'

/** What may receive the token: an origin or URL prefix, several of them, or a predicate. */
export type Resources = string | URL | readonly (string | URL)[] | ((url: URL) => boolean)

/** Whether an absolute or relative URL may receive the token. Decided by parsed origin and path, never by a string's look. */
export type ResourceMatcher = (url: string) => boolean

/** Where a URL leads: a parsed one, or as much of it where the platform can't parse. */
type Place = Pick<URL, 'origin' | 'pathname'>

// scheme://host[:port][/path] with nothing in it that a URL parser would rewrite.
const plain = /^(https?):\/\/([a-z\d.-]+|\[[\da-f:.]+\])(?::(\d+))?(\/[^?#]*)?(?:[?#].*)?$/
const rewritten = /\/\.|%2e|[\\\s\u0000-\u001f]|:443(?:\/|$)|:80(?:\/|$)/i
// A server that decodes %2f would see a way out of the prefix.
const hiddenDots = /(\.|%2e){2}(%2f|%5c)|(%2f|%5c)(\.|%2e){2}/i
const loopback = /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/

const misconfigured = (message: string) => new SessionError('misconfigured', message)

let trusted: boolean | undefined
/** React Native's URL normalises nothing or throws: only one that passes this probe is believed. */
function isUrlTrusted(): boolean {
  if (trusted === undefined) {
    try {
      const probe = new URL('HTTPS://user@EXAMPLE.com:443/a/%2e%2E\\b/../c')
      trusted = probe.origin === 'https://example.com' && probe.pathname === '/c'
    } catch {
      trusted = false
    }
  }
  return trusted
}

/** Origin and path of an http(s) URL, or `undefined` where they can't be told for sure. */
function locate(url: string, base: string | undefined): URL | Place | undefined {
  if (isUrlTrusted()) {
    try {
      const parsed = new URL(url, base)
      return /^https?:$/.test(parsed.protocol) ? parsed : undefined
    } catch {
      return undefined
    }
  }
  const [, scheme, host, port, pathname = '/'] = rewritten.test(url) ? [] : (plain.exec(url) ?? [])
  return host ? { origin: `${scheme}://${host}${port ? `:${port}` : ''}`, pathname } : undefined
}

function isSecure(origin: string): boolean {
  const [scheme, host = ''] = origin.split('://')
  return scheme === 'https' || loopback.test(host.replace(/:\d+$/, ''))
}

const documentBase = (): string | undefined => globalThis.document?.baseURI
/** What the platform resolves a relative URL against; `undefined` where it does not. */
export const fetchBase = (): string | undefined => documentBase() ?? globalThis.location?.href

// A server makes a session for each user, all of them with the same resources.
let last: { readonly key: string; readonly matcher: ResourceMatcher } | undefined

/**
 * Compiles the option. What is wrong with an absolute resource throws here; a relative one is resolved at the first use,
 * against the document, and is `misconfigured` where there is none.
 */
export function createResourceMatcher(resources: Resources): ResourceMatcher {
  if (typeof resources === 'function') {
    return url => {
      const located = locate(url, fetchBase())
      return !!located && 'href' in located && isSecure(located.origin) && resources(located) === true
    }
  }
  const list = [resources].flat().map(String)
  if (!list.length || list.includes('')) {
    throw misconfigured(
      "No resources. Write which origins may receive the token: resources: 'https://api.example.com'.",
    )
  }
  const key = JSON.stringify(list)
  if (last?.key === key) return last.matcher
  // What is wrong with these is told at once.
  const absolute = list.filter(isAbsolute)
  absolute.forEach(toPrefix)
  let prefixes: readonly Place[] | undefined
  // Apps ask for the same URL again and again.
  let known: string | undefined
  const matcher: ResourceMatcher = url => {
    if (url === known) return true
    prefixes ??= list.map(toPrefix)
    // The common case without a parser: nothing behind `origin/` can change the origin.
    for (const { origin, pathname } of prefixes) {
      if (pathname === '/' && startsWithOrigin(url, origin)) {
        known = url
        return true
      }
    }
    const located = locate(url, fetchBase())
    return !!located && prefixes.some(prefix => isUnder(located, prefix))
  }
  // A relative one is resolved by the document, which may be another next time.
  if (absolute.length === list.length) last = { key, matcher }
  return matcher
}

const isAbsolute = (text: string) => /^[a-z][a-z\d+.-]*:/i.test(text)

const startsWithOrigin = (url: string, origin: string) =>
  url.charCodeAt(origin.length) === 47 /* / */ && url.startsWith(origin)

function isUnder(located: Place, { origin, pathname }: Place): boolean {
  if (located.origin !== origin) return false
  if (pathname === '/') return true
  if (hiddenDots.test(located.pathname)) return false
  return (
    located.pathname === pathname || located.pathname.startsWith(pathname.endsWith('/') ? pathname : `${pathname}/`)
  )
}

function toPrefix(text: string): Place {
  const located = locate(text, isAbsolute(text) ? undefined : documentBase())
  if (!located) {
    throw misconfigured(
      isAbsolute(text)
        ? `The resource ${text} is no http(s) URL. Write an origin or a URL prefix: 'https://api.example.com/v1'.`
        : `The resource ${text} is relative and there is no document to resolve it. Write it with its origin: 'https://api.example.com${text}'.`,
    )
  }
  if (!isSecure(located.origin)) {
    throw misconfigured(
      `The resource ${text} is not encrypted: anybody on the way reads the token. Write https:, or a loopback address.`,
    )
  }
  const { origin, pathname } = located
  return { origin, pathname }
}

/** The hosts of the resources, for the default name of a session; `undefined` for a predicate. */
export const resourceHosts = (resources: Resources): string | undefined =>
  typeof resources === 'function'
    ? undefined
    : [resources]
        .flat()
        .map(text => locate(String(text), documentBase())?.origin.replace(/^https?:\/\//, '') ?? String(text))
        .sort()
        .join(',')
