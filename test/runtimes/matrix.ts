import { apiKey, createSession } from 'latchkey'
import type { Sent } from './body-server.ts'
import { secret } from './secret.ts'

/**
 * The body matrix as plain code, without a test runner: the same on every Node, on Bun and Deno, in a browser, over any fetch.
 * A case is first sent with the bare fetch. What the platform itself can not send is no case there, and is named.
 */
export interface Host {
  /** Of `createBodyServer`. */
  readonly origin: string
  readonly fetch: typeof fetch
  readonly Request: typeof Request
  readonly FormData: typeof FormData
  /** `node:stream`'s, where there is one. */
  readonly Readable?: { from(chunks: Iterable<Uint8Array>): unknown }
}

export interface Result {
  readonly name: string
  readonly outcome: 'passed' | 'failed' | 'platform'
  readonly why?: string
}

export interface Case {
  readonly name: string
  /** `platform`: why the bare fetch can't. Rejects where Latchkey does worse than it. */
  run(host: Host): Promise<'passed' | { platform: string }>
}

interface Kind {
  readonly name: string
  /** What the server has to see; a function of the host's own where it makes it. */
  readonly text: string | RegExp
  readonly isStream?: boolean
  make(host: Host): unknown
}

type Made = readonly [input: string | Request, init?: RequestInit]

// Not UTF-8 and not symmetrical, so that an encoding or a wrong view shows.
const bytes = Uint8Array.from({ length: 300 }, (_, index) => (index * 7 + 3) % 256)
const latin1 = (data: Uint8Array) => Array.from(data, byte => String.fromCharCode(byte)).join('')
const chunks = () => [bytes.slice(0, 100), bytes.slice(100)]
const padded = () => {
  const buffer = new Uint8Array(1000)
  buffer.set(bytes, 10)
  return buffer.buffer
}

const kinds: readonly Kind[] = [
  { name: 'a string', text: 'a=\u00c3\u00a4', make: () => 'a=ä' },
  { name: 'JSON', text: '{"a":[1,"\u00c3\u00a4"]}', make: () => JSON.stringify({ a: [1, 'ä'] }) },
  {
    name: 'URLSearchParams',
    text: 'a=1+2&b=%26',
    make: () => new URLSearchParams({ a: '1 2', b: '&' }),
  },
  {
    name: 'FormData with a File',
    text: /name="field"\r\n\r\nv\u00c3\u00a4lue\r\n[\s\S]*filename="a.bin"\r\nContent-Type: application\/x-own\r\n\r\n[\s\S]{300}\r\n/i,
    make: ({ FormData }) => {
      const form = new FormData()
      form.append('field', 'välue')
      form.append('file', new File([bytes], 'a.bin', { type: 'application/x-own' }))
      return form
    },
  },
  {
    name: 'a Blob',
    text: latin1(bytes),
    make: () => new Blob([bytes], { type: 'application/x-own' }),
  },
  { name: 'an ArrayBuffer', text: latin1(bytes), make: () => bytes.slice().buffer },
  { name: 'a view of a typed array', text: latin1(bytes), make: () => new Uint8Array(padded(), 10, 300) },
  { name: 'a DataView', text: latin1(bytes), make: () => new DataView(padded(), 10, 300) },
  {
    name: 'a ReadableStream',
    text: latin1(bytes),
    isStream: true,
    make: () => {
      const left = chunks()
      return new ReadableStream({
        pull(controller) {
          const next = left.shift()
          if (next) controller.enqueue(next)
          else controller.close()
        },
      })
    },
  },
  {
    name: 'a Node Readable',
    text: latin1(bytes),
    isStream: true,
    make: ({ Readable }) => {
      if (!Readable) throw new Error('there is no node:stream')
      return Readable.from(chunks())
    },
  },
  {
    name: 'an async iterable',
    text: latin1(bytes),
    isStream: true,
    make: () => ({
      async *[Symbol.asyncIterator]() {
        yield* chunks()
      },
    }),
  },
]

/** How a body gets to fetch. `isSecond`: whether it can be sent again. */
interface Way {
  readonly name: string
  isSecond(kind: Kind): boolean
  pack(url: string, body: unknown, host: Host): Made
}

const ways: readonly Way[] = [
  {
    name: 'url + init',
    isSecond: ({ isStream }) => !isStream,
    pack: (url, body) => [url, { method: 'POST', body: body as BodyInit, headers: { 'X-Own': '1' } }],
  },
  {
    name: 'Request',
    isSecond: () => true,
    pack: (url, body, { Request }) => [new Request(url, requestInit(body))],
  },
  {
    name: 'Request from a Request',
    isSecond: () => true,
    pack: (url, body, { Request }) => [new Request(new Request(url, requestInit(body)), { credentials: 'omit' })],
  },
  {
    name: 'Request + init',
    isSecond: () => true,
    pack: (url, body, { Request }) => [new Request(url, { method: 'PUT', body: 'not this' }), requestInit(body)],
  },
]

const requestInit = (body: unknown) =>
  ({
    method: 'POST',
    body,
    headers: { 'X-Own': '1' },
    ...(isStream(body) && { duplex: 'half' }),
  }) as RequestInit

const isStream = (body: unknown) =>
  typeof body === 'object' && body !== null && (Symbol.asyncIterator in body || 'getReader' in body)

/** What a send was, without what may differ between two of one request: the token, and the boundary of a form. */
function essence({ method, path, headers, body, sha256 }: Sent): string {
  const { authorization: _, 'content-type': type = '', ...rest } = headers
  const boundary = /boundary=(\S+)/.exec(type)?.[1]
  const plain = (text: string) => (boundary ? text.replaceAll(boundary, 'boundary') : text)
  delete rest['content-length']
  return JSON.stringify([method, path, rest, plain(type), boundary ? plain(body) : sha256])
}

let realms = 0

async function open(host: Host) {
  const base = `${host.origin}/r/${Date.now().toString(36)}-${++realms}`
  const control = async (path: string) => (await host.fetch(`${base}/${path}`, { method: 'POST' })).json()
  const inits: (RequestInit & { duplex?: string })[] = []
  let renewals = 0
  /** A session whose token was obtained some seconds ago: old enough for a 401 to count, or inside the ahead window. */
  const start = async (expiresIn: number, agoMs: number) => {
    const session = createSession({
      resources: host.origin,
      name: base,
      grant: () => {
        renewals++
        return control('token') as Promise<{ access_token: string }>
      },
      fetch: ((input: string, init?: RequestInit) => {
        if (init) inits.push(init)
        return init ? host.fetch(input, init) : host.fetch(input)
      }) as typeof fetch,
    })
    await session.adopt(await control(`token?expires_in=${expiresIn}`), { obtainedAtMs: Date.now() - agoMs })
    return session
  }
  return {
    url: `${base}/api/items?q=a%20b`,
    inits,
    renewals: () => renewals,
    start,
    startWithKey: () =>
      createSession({
        resources: host.origin,
        name: base,
        grant: apiKey({ keys: secret('key') }),
        fetch: ((input: string, init?: RequestInit) => host.fetch(input, init)) as typeof fetch,
      }),
    expire: () => control('expire'),
    log: async (): Promise<Sent[]> => (await host.fetch(`${base}/log`)).json() as Promise<Sent[]>,
  }
}

function check(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(what)
}

function checkBody(kind: Kind, sent: Sent | undefined): void {
  check(sent, 'nothing arrived')
  const isRight = typeof kind.text === 'string' ? sent.body === kind.text : kind.text.test(sent.body)
  check(isRight, `another body arrived: ${sent.bytes} bytes`)
}

const typeOf = (sent: Sent | undefined) => sent?.headers['content-type']?.replace(/boundary=.*/, 'boundary')

/**
 * What the bare fetch of this platform does with it (with `duplex`, which it may ask for): the Content-Type that it sends, or why it can't
 * send it, or can't bring a 401 to it back.
 */
async function tryBare(host: Host, kind: Kind, way: Way, statuses = [200, 401]) {
  const { url, log } = await open(host)
  let stage = 'send it'
  try {
    for (const status of statuses) {
      const [input, init] = way.pack(status === 200 ? `${url}&public` : url, kind.make(host), host)
      const isOneShot = isStream(init?.body)
      const response = await host.fetch(input, isOneShot ? ({ ...init, duplex: 'half' } as RequestInit) : init)
      await response.arrayBuffer()
      check(response.status === status, `the answer is ${response.status}`)
      checkBody(kind, (await log()).at(-1))
      stage = 'bring its 401 back'
    }
    return { type: typeOf((await log())[0]) }
  } catch (error) {
    return { platform: `it can't ${stage}: ${error instanceof Error ? error.message : error}` }
  }
}

const cases: Case[] = []
for (const kind of kinds) {
  for (const way of ways) {
    const isSecond = way.isSecond(kind)
    cases.push({
      name: `${kind.name} by ${way.name} ${isSecond ? 'is sent again, the same' : 'is sent once, its 401 is readable, and the next call is fresh'}`,
      async run(host) {
        const bare = await tryBare(host, kind, way)
        if (bare.platform) return { platform: bare.platform }
        const { url, start, expire, log, inits } = await open(host)
        using session = await start(3600, 600_000)
        await expire()
        const response = await session.fetch(...way.pack(url, kind.make(host), host))
        const answer = (await response.json()) as { ok?: boolean; detail?: string }
        const [first, second, ...more] = await log()
        checkBody(kind, first)
        check(typeOf(first) === bare.type, `the Content-Type is ${typeOf(first)}`)
        check(first?.headers.authorization === `Bearer ${secret('access-1')}`, 'the first send had another token')
        check(more.length === 0, `${more.length + 2} sends`)
        if (isSecond) {
          check(response.status === 200 && answer.ok, `the answer is ${response.status}`)
          checkBody(kind, second)
          check(second?.headers.authorization === `Bearer ${secret('access-2')}`, 'the second send had another token')
          check(essence(first) === essence(second), 'the second send is another one')
          return 'passed'
        }
        check(response.status === 401 && answer.detail, `the answer is ${response.status}`)
        check(!second, 'a stream was sent twice')
        check((inits[0] as { duplex?: string })?.duplex === 'half', 'duplex was not set')
        const next = await session.fetch(url)
        check(next.status === 200, `the next call was answered ${next.status}`)
        check(
          (await log()).at(-1)?.headers.authorization === `Bearer ${secret('access-2')}`,
          'the next call had another token',
        )
        return 'passed'
      },
    })
  }
  if (!kind.isStream) continue
  const [way] = ways as [Way]
  cases.push({
    name: `${kind.name} inside the ahead window is sent once, with a token renewed before, and the duplex of the caller`,
    async run(host) {
      const bare = await tryBare(host, kind, way, [200])
      if (bare.platform) return { platform: bare.platform }
      const { url, start, log, inits, renewals } = await open(host)
      using session = await start(60, 55_000)
      const duplex = 'half' as const
      const response = await session.fetch(url, {
        method: 'POST',
        body: kind.make(host) as BodyInit,
        duplex,
      } as RequestInit)
      await response.arrayBuffer()
      const [first, ...more] = await log()
      check(response.status === 200, `the answer is ${response.status}`)
      check(more.length === 0 && renewals() === 1, `${more.length + 1} sends, ${renewals()} renewals`)
      checkBody(kind, first)
      check(first?.headers.authorization === `Bearer ${secret('access-2')}`, 'it had the old token')
      check(inits[0]?.duplex === duplex, 'the duplex of the caller was changed')
      return 'passed'
    },
  })
}

for (const [name, body] of [
  ['no body', undefined],
  ['an empty string', ''],
  ['an empty Blob', new Blob([])],
] as const) {
  cases.push({
    name: `${name} is sent again, the same`,
    async run(host) {
      const { url, start, expire, log } = await open(host)
      using session = await start(3600, 600_000)
      await expire()
      const init = Object.freeze({ method: 'POST', ...(body !== undefined && { body }) })
      const response = await session.fetch(url, init)
      await response.arrayBuffer()
      const [first, second] = await log()
      check(response.status === 200 && first && second, `the answer is ${response.status}`)
      check(essence(first) === essence(second), 'the second send is another one')
      return 'passed'
    },
  })
}

/** The same server by another name: another origin. */
const elsewhere = (url: string) => url.replace('127.0.0.1', 'localhost')

for (const status of [302, 307]) {
  for (const place of ['the same', 'another'] as const) {
    const isElsewhere = place === 'another'
    const leading = (url: string) => {
      const target = `${isElsewhere ? elsewhere(url) : url}&public`
      return `${url}&status=${status}&to=${encodeURIComponent(target)}`
    }
    cases.push({
      name: `Authorization over a redirect to ${place} origin (${status}) ${isElsewhere ? 'does not go along' : 'goes along'}`,
      async run(host) {
        const { url, start, log } = await open(host)
        using session = await start(3600, 600_000)
        const response = await session.fetch(leading(url))
        check(response.status === 200, `the answer is ${response.status}`)
        const [first, second] = await log()
        check(first?.headers.authorization === `Bearer ${secret('access-1')}`, 'the first send had no token')
        check(second, 'the redirect was not followed')
        check(
          Boolean(second.headers.authorization) === !isElsewhere,
          `it ${isElsewhere ? 'went along' : 'was dropped'}`,
        )
        return 'passed'
      },
    })
    cases.push({
      name: `a key in a header of its own over a redirect to ${place} origin (${status}) ${isElsewhere ? 'does not go along' : 'goes along or is refused'}`,
      async run(host) {
        const { url, startWithKey, log } = await open(host)
        using session = startWithKey()
        let isTold = false
        session.on('degraded', ({ what }) => {
          isTold ||= what === 'redirects'
        })
        const answer = await session.fetch(leading(url)).then(
          ({ status }) => status,
          error => (error as { code?: string }).code ?? String(error),
        )
        const [first, second] = await log()
        check(first?.headers['x-api-key'] === secret('key'), 'the first send had no key')
        if (isTold) return { platform: 'it follows redirects although it is told not to, and Latchkey says so' }
        check(answer === 200 || answer === 'redirect_refused', `the answer is ${answer}`)
        check(Boolean(second) === (answer === 200), `${second ? 'it was sent on' : 'nothing was sent on'}: ${answer}`)
        if (second)
          check(Boolean(second.headers['x-api-key']) === !isElsewhere, isElsewhere ? 'it went along' : 'it was dropped')
        return 'passed'
      },
    })
  }
}

export { cases }

export async function runMatrix(host: Host, only?: RegExp): Promise<Result[]> {
  const results: Result[] = []
  for (const { name, run } of cases) {
    if (only && !only.test(name)) continue
    try {
      const outcome = await bounded(run(host))
      if (outcome === 'passed') results.push({ name, outcome })
      else results.push({ name, outcome: 'platform', why: outcome.platform })
    } catch (error) {
      results.push({ name, outcome: 'failed', why: error instanceof Error ? error.message : String(error) })
    }
  }
  return results
}

function bounded<T>(work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('it hangs: nothing after 10 s')), 10_000)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}
