import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { apiKey, createSession } from '../../src/index.ts'
import { secret } from '../support/no-leaks.ts'
import { access, listen, open, type Seen } from './server.ts'

// LATCHKEY_CALLS=3000: other calls each time, and more of them.
const runs = Number(process.env.LATCHKEY_CALLS ?? 300)
const seed = process.env.LATCHKEY_CALLS ? Date.now() : 2617

/** What a call is made of, as plain data: each side makes its own, since a Request or stream can be used once. */
interface Call {
  readonly input: 'string' | 'URL' | 'Request' | 'Request subclass' | 'toString'
  readonly own: Init
  readonly init: Init | undefined
  readonly kind: 'plain' | 'frozen' | 'null prototype' | 'inherited' | 'getters'
}
interface Init {
  readonly method?: string
  readonly headers?: readonly (readonly [string, string])[]
  readonly headersAs: 'object' | 'array' | 'Headers' | 'Map'
  readonly body?: string
  readonly bodyAs: 'string' | 'bytes' | 'Blob' | 'params' | 'stream'
  readonly redirect?: RequestRedirect
  readonly credentials?: RequestCredentials
  readonly referrer?: string
  readonly keepalive?: boolean
  readonly cache?: RequestCache
}

const init: fc.Arbitrary<Init> = fc.record(
  {
    method: fc.constantFrom('GET', 'get', 'POST', 'post', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'a b'),
    headers: fc.array(
      fc.tuple(
        fc.constantFrom('X-Own', 'x-own', 'Content-Type', 'Accept', 'COOKIE', 'X-Empty', 'no name'),
        fc.constantFrom('1', '', ' spaced ', 'text/x-own', 'é', 'a\nb'),
      ),
      { maxLength: 4 },
    ),
    headersAs: fc.constantFrom('object', 'array', 'Headers', 'Map'),
    body: fc.constantFrom('', 'a=1', 'ä\r\n', 'x'.repeat(70_000)),
    bodyAs: fc.constantFrom('string', 'bytes', 'Blob', 'params', 'stream'),
    redirect: fc.constantFrom('follow', 'manual', 'error'),
    credentials: fc.constantFrom('omit', 'include'),
    referrer: fc.constantFrom('about:client', ''),
    keepalive: fc.boolean(),
    cache: fc.constantFrom('no-store', 'reload', 'only-if-cached'),
  },
  { requiredKeys: ['headersAs', 'bodyAs'] },
)
const call: fc.Arbitrary<Call> = fc.record({
  input: fc.constantFrom('string', 'URL', 'Request', 'Request subclass', 'toString'),
  own: init,
  init: fc.option(init, { nil: undefined }),
  kind: fc.constantFrom('plain', 'frozen', 'null prototype', 'inherited', 'getters'),
})

function makeHeaders({ headers = [], headersAs }: Init): RequestInit['headers'] {
  const pairs = headers.map(([name, value]) => [name, value] as [string, string])
  if (headersAs === 'array') return pairs
  if (headersAs === 'Headers') return new Headers(pairs)
  if (headersAs === 'Map') return new Map(pairs) as unknown as [string, string][]
  return Object.fromEntries(pairs)
}

function makeBody({ body = '', bodyAs }: Init): BodyInit {
  if (bodyAs === 'bytes') return new TextEncoder().encode(body)
  if (bodyAs === 'Blob') return new Blob([body], { type: 'text/x-blob' })
  if (bodyAs === 'params') return new URLSearchParams({ body })
  if (bodyAs === 'stream') return new Blob([body]).stream()
  return body
}

function makeInit(of: Init, kind: Call['kind']): RequestInit {
  const { headersAs: _, bodyAs, body, headers, ...rest } = of
  const isStreamed = body !== undefined && bodyAs === 'stream'
  const plain = {
    ...rest,
    ...(headers && { headers: makeHeaders(of) }),
    ...(body !== undefined && { body: makeBody(of) }),
    ...(isStreamed && { duplex: 'half' }),
  } as RequestInit
  if (kind === 'frozen') return Object.freeze(plain)
  if (kind === 'null prototype') return Object.assign(Object.create(null), plain)
  if (kind === 'inherited') return Object.create(plain)
  if (kind === 'plain') return plain
  const getters = Object.entries(plain).map(([name, value]) => [name, { get: () => value, enumerable: true }])
  return Object.create(Object.create({}, Object.fromEntries(getters)))
}

class OwnRequest extends Request {}

function make(url: string, { input, own, init, kind }: Call): Parameters<typeof fetch> {
  const given = init && makeInit(init, kind)
  if (input === 'string') return [url, given]
  if (input === 'URL') return [new URL(url), given]
  if (input === 'toString') return [{ toString: () => url } as never, given]
  const Kind = input === 'Request' ? Request : OwnRequest
  return [new Kind(url, makeInit(own, 'plain')), given]
}

/** What the caller sees, and what the API saw. */
async function outcome(use: typeof fetch, url: string, seen: Seen[], call: Call) {
  seen.length = 0
  let args: Parameters<typeof fetch>
  try {
    args = make(url, call)
  } catch {
    return undefined // no call at all: the Request can't be made
  }
  const request = args[0] instanceof Request ? args[0] : undefined
  const promise = use(...args)
  const isUsedAtOnce = request?.bodyUsed
  const result = await promise.then(
    async response => [response.status, response.type, response.url, await response.text()],
    ({ name, message, cause }) => [name, message, cause?.message],
  )
  return { result, isUsedAtOnce, sent: seen.map(wire) }
}

const credential = /^(authorization|x-api-key|connection)$/i

function wire({ method, path, rawHeaders, body }: Seen) {
  const pairs = rawHeaders.flatMap((name, index) => (index % 2 ? [] : [[name, rawHeaders[index + 1]] as const]))
  return {
    method,
    path,
    body,
    headers: pairs.filter(([name]) => !credential.test(name)),
  }
}

/** The body of a `Request` is a stream to whoever sends it elsewhere: its length is not told. */
const unsized = ({ headers, ...rest }: ReturnType<typeof wire>) => ({
  ...rest,
  headers: headers.filter(([name]) => !/^(content-length|transfer-encoding)$/i.test(name)),
})

const isStream = ({ body, bodyAs }: Init) => body !== undefined && bodyAs === 'stream'
const url = (origin: string) => `${origin}/from?q=a%20b#part`

describe('whatever a call is made of, the wire and the caller see what the bare fetch gives, and a token', () => {
  it('that is fresh', async () => {
    const api = await listen()
    const { session } = await open(api.origin)
    let attached = 0
    await check(async call => {
      const bare = await outcome(fetch, url(api.origin), api.seen, call)
      const ours = await outcome(session.fetch, url(api.origin), api.seen, call)
      attached += api.seen.filter(({ headers }) => headers.authorization === `Bearer ${access(1)}`).length
      expect(ours).toEqual(bare)
    })
    expect(attached).toBeGreaterThan(runs / 10)
  })

  it('that it had to wait for', async () => {
    const api = await listen()
    let attached = 0
    await check(async call => {
      const { session } = await open(api.origin, { expiresIn: 60 })
      const bare = await outcome(fetch, url(api.origin), api.seen, call)
      const ours = await outcome(session.fetch, url(api.origin), api.seen, call)
      session.dispose()
      attached += api.seen.filter(({ headers }) => headers.authorization === `Bearer ${access(2)}`).length
      expect(ours).toEqual(bare)
    })
    expect(attached).toBeGreaterThan(runs / 10)
  })

  it('that the server refused: it is sent twice, the same', async () => {
    const api = await listen(({ headers }, response) =>
      headers.authorization === `Bearer ${access(1)}` ? response.writeHead(401).end('no') : undefined,
    )
    let resent = 0
    await check(async call => {
      const { session } = await open(api.origin)
      const bare = await outcome(fetch, url(api.origin), api.seen, call)
      const ours = await outcome(session.fetch, url(api.origin), api.seen, call)
      session.dispose()
      const isOnce = call.init && isStream(call.init) && !/Request/.test(call.input)
      if (isOnce && ours?.sent.length) {
        expect([ours.result[0], ours.sent]).toEqual([401, bare?.sent])
        return
      }
      resent += ours?.sent.length === 2 ? 1 : 0
      expect(ours).toEqual(bare && { ...bare, sent: bare.sent.flatMap(one => [one, one]) })
    })
    expect(resent).toBeGreaterThan(runs / 10)
  })

  it.each(['the same', 'another'])(
    'in a header of its own over a redirect to %s origin that Latchkey follows',
    async to => {
      const other = await listen()
      const api = await listen(({ path }, response) => {
        const status = Number(new URL(path, 'http://localhost').searchParams.get('status'))
        const origin = to === 'another' ? other.origin : ''
        return status ? response.writeHead(status, { Location: `${origin}/to?b=%20#there` }).end() : undefined
      })
      const session = createSession({
        resources: api.origin,
        grant: apiKey({ keys: secret('key') }),
      })
      onTestFinished(() => session.dispose())
      let followed = 0
      await check(async (call, status) => {
        // A stream can't be sent to another place; that it is refused, is told elsewhere.
        if (isStream(call.own) || (call.init && isStream(call.init))) return
        const from = `${api.origin}/from?status=${status}`
        const bare = await outcome(fetch, from, api.seen, call)
        const bareThere = other.seen.splice(0).map(wire)
        const ours = await outcome(session.fetch, from, api.seen, call)
        const there = other.seen.splice(0)
        expect(there.filter(({ headers }) => headers['x-api-key'])).toEqual([])
        followed +=
          there.length + api.seen.filter(({ path, headers }) => path.startsWith('/to') && headers['x-api-key']).length
        // Each hop is a call of its own to the platform, which may call it basic where it was cors.
        const facts = (of: typeof ours) => [
          of?.isUsedAtOnce,
          ...(of?.result ?? []).filter(fact => fact !== 'cors' && fact !== 'basic'),
        ]
        expect(facts(ours)).toEqual(facts(bare))
        expect([...(ours?.sent ?? []), ...there.map(wire)].map(unsized)).toEqual(
          [...(bare?.sent ?? []), ...bareThere].map(unsized),
        )
      })
      expect(followed).toBeGreaterThan(runs / 20)
    },
  )
})

const check = (property: (call: Call, status: number) => Promise<void>) =>
  fc.assert(fc.asyncProperty(call, fc.constantFrom(301, 302, 303, 307, 308), property), { numRuns: runs, seed })
