/** A request taken over from its caller: nothing of the caller's is touched any more, and it can be sent again where its body can. */
export interface Outgoing {
  readonly url: string
  readonly method: string
  readonly signal: AbortSignal | null | undefined
  /** The body can be sent once (a stream). */
  readonly isOneShot: boolean
  readonly redirect: RequestRedirect | undefined
  /** Whether the caller set this header. */
  has(header: string): boolean
  /** What to call fetch with, with these headers added. Each call gives fresh arguments. */
  arguments(
    headers: Readonly<Record<string, string>>,
    redirect?: RequestRedirect,
  ): [input: string | Request, init?: RequestInit]
  /** The same request at another place, as a redirect with this status makes it (Fetch standard, HTTP-redirect fetch). */
  redirected(url: string, status: number): Outgoing | undefined
  /** The answer is final: what was kept for a second send is let go. */
  release(): void
}

type OwnHeaders = Headers | [string, string][] | Record<string, string>

// What fetch reads of its init, also from a prototype or a getter (Fetch standard, RequestInit).
const fields = [
  'method',
  'headers',
  'body',
  'referrer',
  'referrerPolicy',
  'mode',
  'credentials',
  'cache',
  'redirect',
  'integrity',
  'keepalive',
  'signal',
  'duplex',
  'priority',
  'window',
] as const

/**
 * Takes a request over in the caller's own turn, as fetch does: a `Request` is used up now, init is read now.
 * `undefined`: it is not Latchkey's, and nothing of it was used. The caller set its own credentials, aborted already, or asked for
 * a mode that carries none.
 * @throws whatever the platform's `Request` throws for this input
 */
export function takeOver(input: string | URL | Request, init: RequestInit | undefined): Outgoing | undefined {
  return typeof input === 'object' && 'headers' in input ? takeRequest(input, init) : takeUrl(String(input), init)
}

function takeUrl(url: string, given: RequestInit | undefined): Outgoing | undefined {
  const init = given ? copyInit(given) : {}
  const own = copyHeaders(init.headers)
  if (init.mode === 'no-cors' || init.signal?.aborted || hasHeader(own, 'authorization')) return undefined
  const isOneShot = isStream(init.body)
  // The platform asks for it and the caller may not know (Fetch standard, "half" is the only value).
  if (isOneShot && !('duplex' in init)) (init as { duplex?: string }).duplex = 'half'
  return {
    url,
    method: (init.method ?? 'GET').toUpperCase(),
    signal: init.signal,
    isOneShot,
    redirect: init.redirect,
    has: name => hasHeader(own, name),
    arguments: (headers, redirect) => [
      url,
      { ...init, headers: withHeaders(own, headers), ...(redirect && { redirect }) },
    ],
    redirected(next, status) {
      if (!becomesGet(status, init.method)) return takeUrl(next, { ...init, headers: own })
      const { body: _body, ...rest } = init
      return takeUrl(next, { ...rest, method: 'GET', headers: withoutContentHeaders(own) })
    },
    release: () => undefined,
  }
}

function takeRequest(input: Request, given: RequestInit | undefined): Outgoing | undefined {
  const init = given && copyInit(given)
  const own = init?.headers === undefined ? input.headers : copyHeaders(init.headers)
  const signal = init?.signal ?? input.signal
  const mode = init?.mode ?? input.mode
  if (mode === 'no-cors' || signal?.aborted || hasHeader(own, 'authorization')) return undefined
  if (init && isStream(init.body) && !('duplex' in init)) (init as { duplex?: string }).duplex = 'half'
  // The caller's own kind of Request: an injected fetch may not know the global one.
  const Kind = (input.constructor.name === 'Request' ? input.constructor : Request) as typeof Request
  const taken = new Kind(input, init)
  // Before the first send, since no platform lets a body be rebuilt. Where Requests show no body, any method but GET and HEAD may have one.
  const { body } = taken as { body?: unknown }
  const hasBody = body === undefined ? !/^(GET|HEAD)$/i.test(taken.method) : body !== null
  let spare = hasBody ? taken.clone() : undefined
  const extras = init && Object.fromEntries(Object.entries(init).filter(([name]) => !fields.includes(name as 'method')))
  let sends = 0
  return {
    url: taken.url,
    method: taken.method,
    signal,
    isOneShot: false,
    redirect: taken.redirect,
    has: name => hasHeader(own, name),
    arguments(headers, redirect) {
      const isAgain = sends++ > 0
      let request = taken
      if (isAgain && hasBody) {
        request = spare as Request
        spare = request.clone()
      } else if (isAgain) request = new Kind(taken)
      if (redirect && redirect !== request.redirect) request = new Kind(request, { redirect })
      for (const [name, value] of Object.entries(headers)) request.headers.set(name, value)
      return extras && Object.keys(extras).length ? [request, extras as RequestInit] : [request]
    },
    redirected(next, status) {
      const isGet = becomesGet(status, taken.method)
      const same: Record<string, unknown> = {}
      for (const field of fields)
        if (field in taken && field !== 'body' && field !== 'window') same[field] = taken[field as 'method']
      same.headers = isGet ? withoutContentHeaders(new Headers(taken.headers)) : taken.headers
      if (isGet) same.method = 'GET'
      else if (hasBody) Object.assign(same, { body: (spare as Request).clone().body, duplex: 'half' })
      return takeRequest(new Kind(next, same as RequestInit), extras as RequestInit | undefined)
    },
    release() {
      // Lets go of what the clone still buffers.
      spare?.body?.cancel().catch(() => undefined)
      spare = undefined
    },
  }
}

/** A copy with the known fields read one by one (init may have a prototype, or be a Request) and the caller's extras, such as undici's `dispatcher`. */
function copyInit(given: RequestInit): RequestInit {
  const prototype = Object.getPrototypeOf(given)
  if (prototype === Object.prototype || prototype === null) return { ...given }
  const copy: Record<string, unknown> = { ...given }
  for (const field of fields) {
    const value = (given as Record<string, unknown>)[field]
    if (value !== undefined) copy[field] = value
  }
  return copy
}

const becomesGet = (status: number, method = 'GET') =>
  status === 303 ? !/^(GET|HEAD)$/i.test(method) : (status === 301 || status === 302) && /^POST$/i.test(method)

/** What described a body that is gone. */
function withoutContentHeaders(headers: OwnHeaders): OwnHeaders {
  const describesBody = (name: string) => /^content-(encoding|language|location|type|length)$/i.test(name)
  if (Array.isArray(headers)) return headers.filter(([name]) => !describesBody(name))
  if (!isHeaders(headers)) return Object.fromEntries(Object.entries(headers).filter(([name]) => !describesBody(name)))
  for (const name of [...headers.keys()]) if (describesBody(name)) headers.delete(name)
  return headers
}

const isHeaders = (headers: object): headers is Headers =>
  typeof (headers as Headers).append === 'function' && typeof (headers as Headers).get === 'function'

/** The caller's own kind: `new Headers()` would change the case that Node puts on the wire. */
function copyHeaders(headers: RequestInit['headers']): OwnHeaders {
  if (!headers) return {}
  if (isHeaders(headers)) return new (headers.constructor as typeof Headers)(headers)
  if (Symbol.iterator in headers)
    return Array.from(headers as Iterable<[string, string]>, pair => [...pair] as [string, string])
  return { ...(headers as Record<string, string>) }
}

function hasHeader(headers: OwnHeaders, name: string): boolean {
  if (isHeaders(headers)) return headers.has(name)
  const names = Array.isArray(headers) ? headers.map(([own]) => own) : Object.keys(headers)
  return names.some(own => String(own).toLowerCase() === name.toLowerCase())
}

function withHeaders(own: OwnHeaders, added: Readonly<Record<string, string>>): OwnHeaders {
  if (Array.isArray(own)) return [...own, ...Object.entries(added)]
  if (!isHeaders(own)) return { ...own, ...added }
  const headers = new (own.constructor as typeof Headers)(own)
  for (const [name, value] of Object.entries(added)) headers.set(name, value)
  return headers
}

/** A ReadableStream, a Node Readable or another async iterable: read once and gone. */
function isStream(body: unknown): boolean {
  if (typeof body !== 'object' || body === null) return false
  const stream = body as { getReader?: unknown; pipe?: unknown; [Symbol.asyncIterator]?: unknown }
  const isIterable = typeof Symbol.asyncIterator === 'symbol' && typeof stream[Symbol.asyncIterator] === 'function'
  return typeof stream.getReader === 'function' || typeof stream.pipe === 'function' || isIterable
}
