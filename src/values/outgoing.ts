/**
 * A request taken over from its caller: it can be sent again where its body can, and nothing of the caller's is changed.
 * Data and functions rather than an object with methods: one is made for every call.
 */
export interface Outgoing {
  readonly url: string
  readonly method: string
  readonly signal: AbortSignal | null | undefined
  /** The body can be sent once (a stream). */
  readonly isOneShot: boolean
  readonly redirect: RequestRedirect | undefined
  /** The caller's headers. */
  headers: OwnHeaders | undefined
  /** The rest of the caller's init; for a `Request` its extras only, such as undici's `dispatcher`. */
  init: RequestInit | undefined
  /** Where the caller gave a `Request`: ours, made from it. */
  request: Request | undefined
  /** A clone that waits for the next send. */
  spare: Request | undefined
  /** What was sent so far, and why again: each reason counts once. */
  sends: number
  isReplaced?: boolean
  /** The token that it waited for arrived expired. */
  isExpired?: boolean
  isRetried?: boolean
  isSteppedUp?: boolean
}

type OwnHeaders = Headers | [string, string][] | Record<string, string>
type Added = Readonly<Record<string, string>>

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
  const init = given && readInit(given)
  const headers = copyHeaders(init?.headers)
  if (isPlatforms(init?.mode, init?.signal, headers)) return undefined
  return outgoing(url, init, headers, isStream(init?.body))
}

function outgoing(
  url: string,
  init: RequestInit | undefined,
  headers: OwnHeaders | undefined,
  isOneShot: boolean,
): Outgoing {
  return {
    url,
    method: init?.method ? normalizeMethod(init.method) : 'GET',
    signal: init?.signal,
    isOneShot,
    redirect: init?.redirect,
    headers,
    init,
    request: undefined,
    spare: undefined,
    sends: 0,
  }
}

/** Whether all of it is data that can be read once more: no stream, no class, no credential of the caller's, nothing that has ended. */
export function isPlain(init: RequestInit): boolean {
  const { headers, body } = init
  if (!isLiteral(init) || (body && typeof body !== 'string') || (headers && !isLiteral(headers))) return false
  return !isPlatforms(init.mode, init.signal, headers as OwnHeaders | undefined)
}

const isLiteral = (value: object) => Object.getPrototypeOf(value) === Object.prototype

/** None of Latchkey's business: the caller set its own credentials, aborted already, or asked for a mode that carries none. */
const isPlatforms = (mode: unknown, signal: AbortSignal | null | undefined, headers: OwnHeaders | undefined) =>
  mode === 'no-cors' || signal?.aborted || hasHeader(headers, 'authorization')

/** What fetch is called with for a plain init. Nothing of it is the caller's own object. */
export function withAuthorization(init: RequestInit | undefined, authorization: string): RequestInit {
  if (!init) return { headers: { Authorization: authorization } }
  const own = init.headers as Record<string, string> | undefined
  return { ...init, headers: own ? { ...own, Authorization: authorization } : { Authorization: authorization } }
}

/** What was sent so, to be judged and sent again. */
export function takeBack(url: string, sent: RequestInit): Outgoing {
  const { Authorization: _, ...headers } = sent.headers as Record<string, string>
  return { ...outgoing(url, sent, headers, false), sends: 1 }
}

function takeRequest(input: Request, given: RequestInit | undefined): Outgoing | undefined {
  const init = given && readInit(given)
  const headers = init?.headers === undefined ? input.headers : copyHeaders(init.headers)
  // `null` takes the signal of the Request away.
  const signal = init?.signal === undefined ? input.signal : init.signal
  if (isPlatforms(init?.mode ?? input.mode, signal, headers)) return undefined
  const request = new (kindOf(input))(input, init)
  const extras = init && Object.fromEntries(Object.entries(init).filter(([name]) => !fields.includes(name as 'method')))
  return {
    url: request.url,
    method: request.method,
    signal,
    isOneShot: false,
    redirect: request.redirect,
    // A body of init brought its Content-Type along.
    headers: init?.body == null ? headers : copyHeaders(request.headers),
    init: extras && Object.keys(extras).length ? (extras as RequestInit) : undefined,
    request,
    // Cloned before the first send, since no platform lets a body be rebuilt.
    spare: hasBody(request) ? request.clone() : undefined,
    sends: 0,
  }
}

/** The caller's own kind of Request: an injected fetch may not know the global one. */
const kindOf = (request: Request): typeof Request =>
  request.constructor.name === 'Request' ? (request.constructor as typeof Request) : Request

/** As it goes out (Fetch standard, normalize a method). */
const normalizeMethod = (method: string): string =>
  /^(delete|get|head|options|post|put)$/i.test(method) ? method.toUpperCase() : method

/** Where Requests show no body (React Native), any method but GET and HEAD may have one. */
function hasBody(request: Request): boolean {
  const { body } = request as { body?: unknown }
  return body === undefined ? !/^(GET|HEAD)$/i.test(request.method) : body !== null
}

/** Calls fetch with these headers added. */
export function dispatch(
  fetch: typeof globalThis.fetch,
  outgoing: Outgoing,
  added: Added | undefined,
  redirect?: RequestRedirect,
): Promise<Response> {
  const { url, init, headers } = outgoing
  outgoing.sends++
  if (!outgoing.request) {
    const own = { ...init, headers: withHeaders(headers, added) } as RequestInit
    if (redirect) own.redirect = redirect
    return fetch(url, own)
  }
  const request = nextRequest(outgoing, redirect)
  for (const name in added) request.headers.set(name, added[name] as string)
  return init ? fetch(request, init) : fetch(request)
}

function nextRequest(outgoing: Outgoing, redirect: RequestRedirect | undefined): Request {
  let request = outgoing.request as Request
  const Kind = kindOf(request)
  if (outgoing.sends > 1) {
    request = outgoing.spare ?? new Kind(request)
    if (outgoing.spare) outgoing.spare = request.clone()
  }
  return redirect ? new Kind(request, { redirect }) : request
}

/** The answer is final: what was kept for a second send is let go. */
export function release(outgoing: Outgoing): void {
  outgoing.spare?.body?.cancel().catch(() => undefined)
  outgoing.spare = undefined
}

/** The same request at another place, as a redirect with this status makes it (Fetch standard, HTTP-redirect fetch). */
export function redirected(outgoing: Outgoing, url: string, status: number): Outgoing | undefined {
  const { method, init, headers, request, spare } = outgoing
  const becomesGet = status === 303 ? !/^(GET|HEAD)$/i.test(method) : status < 303 && /^POST$/i.test(method)
  const own = becomesGet ? without(headers, contentHeaders) : headers
  const isSameOrigin = new URL(url).origin === new URL(request?.url ?? outgoing.url).origin
  const kept = isSameOrigin ? own : without(own, credentialHeaders)
  if (!request) {
    const { body, ...rest } = init ?? {}
    const same = becomesGet ? { ...rest, method: 'GET' } : { ...init }
    return takeUrl(url, { ...same, ...(kept && { headers: kept }) })
  }
  const same: Record<string, unknown> = {}
  for (const field of fields) {
    if (field in request && field !== 'body') same[field] = request[field as 'method']
  }
  same.headers = kept
  if (becomesGet) same.method = 'GET'
  // As a stream, which is never kept alive (Fetch standard, Request constructor).
  else if (spare) Object.assign(same, { body: spare.clone().body, duplex: 'half', keepalive: false })
  return takeRequest(new (kindOf(request))(url, same as RequestInit), init)
}

// What described a body that is gone.
const contentHeaders = /^content-(encoding|language|location|type|length)$/i
// What platforms leave behind across origins (Fetch standard, HTTP-redirect fetch; undici for those that pages can't set).
const credentialHeaders = /^(authorization|proxy-authorization|cookie|host)$/i

function without(headers: OwnHeaders | undefined, names: RegExp): OwnHeaders {
  if (!headers || !isHeaders(headers)) {
    const pairs = Array.isArray(headers) ? headers : Object.entries(headers ?? {})
    return pairs.filter(([name]) => !names.test(name))
  }
  // A copy rather than pairs, which would lose the case of names.
  const copy = cloneOf(headers)
  for (const name of [...copy.keys()]) if (names.test(name)) copy.delete(name)
  return copy
}

/** A copy, with the known fields read one by one where it has a prototype (a class, a `Request`). */
function readInit(given: RequestInit): RequestInit {
  const copy: Record<string, unknown> = { ...given }
  for (const field of isLiteral(given) ? [] : fields) {
    const value = (given as Record<string, unknown>)[field]
    if (value !== undefined) copy[field] = value
  }
  // The platform asks for it and the caller may not know (Fetch standard, "half" is the only value).
  if (isStream(copy.body)) copy.duplex ??= 'half'
  return copy
}

const isHeaders = (headers: object): headers is Headers =>
  typeof (headers as Headers).append === 'function' && typeof (headers as Headers).get === 'function'

/** The caller's own kind: `new Headers()` would change the case that Node puts on the wire. */
const cloneOf = (headers: Headers) => new (headers.constructor as typeof Headers)(headers)

function copyHeaders(headers: RequestInit['headers']): OwnHeaders | undefined {
  if (!headers) return undefined
  if (isHeaders(headers)) return cloneOf(headers)
  if (Symbol.iterator in headers) {
    return Array.from(headers as Iterable<[string, string]>, pair => [...pair] as [string, string])
  }
  return { ...(headers as Record<string, string>) }
}

export function hasHeader(headers: OwnHeaders | undefined, name: string): boolean {
  if (!headers) return false
  if (isHeaders(headers)) return headers.has(name)
  const isSame = (own: string) => own.length === name.length && own.toLowerCase() === name.toLowerCase()
  if (Array.isArray(headers)) return headers.some(([own]) => isSame(own))
  for (const own in headers) if (isSame(own)) return true
  return false
}

function withHeaders(own: OwnHeaders | undefined, added: Added | undefined): OwnHeaders {
  const headers = copyHeaders(own) ?? {}
  if (Array.isArray(headers)) return [...headers, ...Object.entries(added ?? {})]
  for (const name in added) {
    if (isHeaders(headers)) headers.set(name, added[name] as string)
    else headers[name] = added[name] as string
  }
  return headers
}

/** A ReadableStream, a Node Readable or another async iterable: read once and gone. */
function isStream(body: unknown): boolean {
  if (typeof body !== 'object' || body === null) return false
  const stream = body as { getReader?: unknown; pipe?: unknown; [Symbol.asyncIterator]?: unknown }
  // Where the platform has no such symbol, that is a member by the name of "undefined".
  return [stream.getReader, stream.pipe, stream[Symbol.asyncIterator]].some(member => typeof member === 'function')
}
