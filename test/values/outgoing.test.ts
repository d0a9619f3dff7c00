import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import {
  dispatch,
  hasHeader,
  isPlain,
  type Outgoing,
  redirected,
  release,
  takeBack,
  takeOver,
  withAuthorization,
} from '../../src/values/outgoing.ts'

const url = 'https://api.example.com/items'

/** What a fetch was called with, each time. */
function recorder() {
  const calls: [input: unknown, init?: RequestInit][] = []
  const fetch = ((...given: [unknown, RequestInit?]) => {
    calls.push(given)
    return Promise.resolve(new Response('ok'))
  }) as typeof globalThis.fetch
  return { calls, fetch }
}

function take(input: string | URL | Request, init?: RequestInit): Outgoing {
  const outgoing = takeOver(input, init)
  if (!outgoing) throw new Error('It was left to the platform.')
  return outgoing
}

async function* chunks() {
  yield new TextEncoder().encode('chunk')
}

describe('a request is left to the platform', () => {
  const aborted = { signal: AbortSignal.abort() }
  it.each([
    ['no-cors', { mode: 'no-cors' }],
    ['an abort', aborted],
    ['credentials in an object', { headers: { 'X-Own': '1', AUTHORIZATION: 'Basic x' } }],
    ['credentials in pairs', { headers: [['authorization', 'Basic x']] }],
    ['credentials in a Headers', { headers: new Headers({ Authorization: 'Basic x' }) }],
    ['credentials in an iterable', { headers: new Map([['Authorization', 'Basic x']]) }],
  ] as [string, RequestInit][])('with %s, by URL, Request or both', (_what, init) => {
    expect(takeOver(url, init)).toBeUndefined()
    expect(takeOver(new URL(url), init)).toBeUndefined()
    const { headers } = init
    const plain = headers instanceof Map ? { ...init, headers: [...headers] as [string, string][] } : init
    expect(takeOver(new Request(url, plain), undefined)).toBeUndefined()
    expect(takeOver(new Request(url), plain)).toBeUndefined()
  })

  it('but not where its init says otherwise than its Request', () => {
    expect(take(new Request(url, aborted), { signal: null }).signal).toBeNull()
    const { signal } = new AbortController()
    expect(take(new Request(url, aborted), { signal }).signal).toBe(signal)
    const own = new Request(url, { headers: { authorization: 'Basic x' } })
    expect(take(own, { headers: { 'x-own': '1' } }).request?.headers.get('x-own')).toBe('1')
    expect(take(new Request(url, { mode: 'no-cors' }), { mode: 'cors' }).request?.mode).toBe('cors')
  })
})

describe('what is taken over', () => {
  it.each([
    [undefined, 'GET'],
    ['get', 'GET'],
    ['Post', 'POST'],
    ['put', 'PUT'],
    ['delete', 'DELETE'],
    ['head', 'HEAD'],
    ['options', 'OPTIONS'],
    ['PUT', 'PUT'],
    ['patch', 'patch'],
    ['PATCH', 'PATCH'],
    ['Own', 'Own'],
  ])('has the method of the platform: %s is %s', (method, expected) => {
    expect(take(url, method === undefined ? undefined : { method }).method).toBe(expected)
  })

  it('is nothing but the URL where nothing else is given', async () => {
    const { calls, fetch } = recorder()
    const outgoing = take(new URL(url))
    expect(outgoing).toMatchObject({ url, isOneShot: false, signal: undefined, redirect: undefined, sends: 0 })
    await dispatch(fetch, outgoing, undefined)
    expect(calls).toEqual([[url, { headers: {} }]])
  })

  it('tells signal and redirect', () => {
    const { signal } = new AbortController()
    expect(take(url, { signal, redirect: 'manual' })).toMatchObject({ signal, redirect: 'manual' })
    const request = new Request(url, { redirect: 'error', method: 'PATCH' })
    expect(take(request)).toMatchObject({ url, redirect: 'error', method: 'PATCH', isOneShot: false, sends: 0 })
  })

  it.each([
    ['a ReadableStream', () => new ReadableStream(), true],
    ['a Readable', () => Readable.from(['x']), true],
    ['what has a pipe', () => ({ pipe() {} }), true],
    ['what has a reader', () => ({ getReader() {} }), true],
    ['an async iterable', () => chunks(), true],
    ['text', () => 'text', false],
    ['bytes', () => new Uint8Array(1), false],
    ['a form', () => new URLSearchParams('a=b'), false],
    ['a Blob', () => new Blob(['x']), false],
    ['null', () => null, false],
    ['nothing', () => undefined, false],
  ] as [string, () => BodyInit, boolean][])(
    'with %s as its body can be sent once: %s',
    async (_what, make, isOneShot) => {
      const { calls, fetch } = recorder()
      const outgoing = take(url, { method: 'POST', body: make() })
      expect(outgoing.isOneShot).toBe(isOneShot)
      await dispatch(fetch, outgoing, undefined)
      // Without it the platform refuses a stream; it has no place beside another body.
      expect(calls[0]?.[1]).toHaveProperty(
        ...((isOneShot ? ['duplex', 'half'] : ['method', 'POST']) as [string, string]),
      )
      expect('duplex' in (calls[0]?.[1] ?? {})).toBe(isOneShot)
    },
  )

  it('keeps the duplex of its caller, whose init stays as it is', async () => {
    const { calls, fetch } = recorder()
    const own = { method: 'POST', body: new ReadableStream(), duplex: 'own' } as RequestInit
    await dispatch(fetch, take(url, own), undefined)
    expect(calls[0]?.[1]).toMatchObject({ duplex: 'own' })
    const bare = Object.freeze({ method: 'POST', body: new ReadableStream() })
    take(url, bare)
    expect(Object.keys(bare)).toEqual(['method', 'body'])
  })

  it('is read where its init has a prototype or none at all', async () => {
    const { calls, fetch } = recorder()
    class Init {
      readonly own = 1
      get method() {
        return 'put'
      }
      get headers() {
        return { 'X-Own': '1' }
      }
      get other() {
        return 'is no field of an init'
      }
    }
    const outgoing = take(url, new Init())
    expect(outgoing.method).toBe('PUT')
    await dispatch(fetch, outgoing, { Authorization: 'Bearer x' })
    expect(calls[0]?.[1]).toStrictEqual({ own: 1, method: 'put', headers: { 'X-Own': '1', Authorization: 'Bearer x' } })
    for (const init of [{ method: 'post' }, Object.assign(Object.create(null), { method: 'post' })]) {
      expect(take(url, init).init).toStrictEqual({ method: 'post' })
    }
  })

  it('waits without showing what its caller does to the init meanwhile', () => {
    const init = { method: 'POST', body: 'before' }
    const outgoing = take(url, init)
    init.body = 'after'
    expect(outgoing.init).toEqual({ method: 'POST', body: 'before' })
    expect(take(url).init).toBeUndefined()
  })
})

describe('headers are added', () => {
  const added = { Authorization: 'Bearer x', DPoP: 'proof' }
  class OwnHeaders extends Headers {}

  it.each([
    ['none', undefined, { ...added }],
    ['an object', { 'X-Own': '1' }, { 'X-Own': '1', ...added }],
    ['pairs', [['X-Own', '1']], [['X-Own', '1'], ...Object.entries(added)]],
    ['an iterable', new Map([['X-Own', '1']]), [['X-Own', '1'], ...Object.entries(added)]],
  ] as [string, HeadersInit | undefined, unknown][])('to %s', async (_what, headers, expected) => {
    const { calls, fetch } = recorder()
    const outgoing = take(url, headers && { headers })
    const before = JSON.stringify(outgoing.headers)
    await dispatch(fetch, outgoing, added)
    expect(calls[0]?.[1]?.headers).toEqual(expected)
    expect(JSON.stringify(outgoing.headers)).toBe(before) // the second send begins with the same
    await dispatch(fetch, outgoing, undefined)
    expect(Object.fromEntries(new Headers(calls[1]?.[1]?.headers))).toEqual(headers ? { 'x-own': '1' } : {})
  })

  it('to a Headers of the caller’s own kind, which stays as it is', async () => {
    const { calls, fetch } = recorder()
    const own = new OwnHeaders({ 'X-Own': '1' })
    const outgoing = take(url, { headers: own })
    own.set('X-Own', 'later')
    await dispatch(fetch, outgoing, added)
    const sent = calls[0]?.[1]?.headers as Headers
    expect(sent).toBeInstanceOf(OwnHeaders)
    expect(Object.fromEntries(sent)).toEqual({ 'x-own': '1', authorization: 'Bearer x', dpop: 'proof' })
    expect([...own.keys()]).toEqual(['x-own'])
    expect([...(outgoing.headers as Headers).keys()]).toEqual(['x-own'])
  })

  it('and pairs are the caller’s no more once they are taken', () => {
    const pairs: [string, string][] = [['X-Own', '1']]
    const outgoing = take(url, { headers: pairs })
    ;(pairs[0] as [string, string])[1] = 'later'
    expect(outgoing.headers).toEqual([['X-Own', '1']])
    const object = { 'X-Own': '1' }
    const other = take(url, { headers: object })
    object['X-Own'] = 'later'
    expect(other.headers).toEqual({ 'X-Own': '1' })
  })

  it('and a redirect mode, where one is asked for', async () => {
    const { calls, fetch } = recorder()
    const outgoing = take(url, { redirect: 'follow' })
    await dispatch(fetch, outgoing, undefined, 'manual')
    await dispatch(fetch, outgoing, undefined)
    expect(calls.map(([, init]) => init?.redirect)).toEqual(['manual', 'follow'])
    expect(outgoing.sends).toBe(2)
  })
})

describe('hasHeader', () => {
  it.each([
    [undefined, false],
    [{}, false],
    [{ 'x-api-key': '1' }, true],
    [{ 'X-API-Key': '1' }, true],
    [{ 'x-api-kez': '1' }, false],
    [{ 'x-api-key-2': '1', x: '2' }, false],
    [[['X-Api-Key', '1']], true],
    [[['x', '1']], false],
    [[], false],
    [new Headers({ 'X-API-KEY': '1' }), true],
    [new Headers({ x: '1' }), false],
  ] as [Outgoing['headers'], boolean][])('of %o is %s, in any case', (headers, expected) => {
    expect(hasHeader(headers, 'X-Api-Key')).toBe(expected)
  })
})

describe('a plain init', () => {
  class Init {}
  it.each([
    [{}, true],
    [{ method: 'POST', body: 'text', headers: { a: 'b' } }, true],
    [{ body: '' }, true],
    [{ body: null }, true],
    [{ signal: new AbortController().signal }, true],
    [{ mode: 'cors' }, true],
    [new Init(), false],
    [Object.create(null), false],
    [{ mode: 'no-cors' }, false],
    [{ signal: AbortSignal.abort() }, false],
    [{ body: new Uint8Array(1) }, false],
    [{ body: new ReadableStream() }, false],
    [{ headers: new Headers() }, false],
    [{ headers: [['a', 'b']] }, false],
    [{ headers: { AUTHORIZATION: 'Basic x' } }, false],
  ] as [RequestInit, boolean][])('%o: %s', (init, expected) => expect(isPlain(init)).toBe(expected))

  it('is sent with the credential as an object of its own, and taken back without it', () => {
    const Authorization = 'Bearer x'
    expect(withAuthorization(undefined, Authorization)).toEqual({ headers: { Authorization } })
    expect(withAuthorization({ method: 'put' }, Authorization)).toEqual({ method: 'put', headers: { Authorization } })
    const init = Object.freeze({ method: 'put', body: 'text', headers: Object.freeze({ 'X-Own': '1' }) })
    const sent = withAuthorization(init, Authorization)
    expect(sent).toEqual({ method: 'put', body: 'text', headers: { 'X-Own': '1', Authorization } })
    const outgoing = takeBack(url, sent)
    expect(outgoing).toMatchObject({ url, method: 'PUT', isOneShot: false, sends: 1, headers: { 'X-Own': '1' } })
    expect(outgoing.headers).toEqual({ 'X-Own': '1' })
    expect(outgoing.request).toBeUndefined()
  })
})

describe('a Request', () => {
  it('goes out as another of its kind, alone where no extras came with it', async () => {
    const { calls, fetch } = recorder()
    const request = new Request(url, { headers: { 'X-Own': '1' } })
    const outgoing = take(request, { cache: 'no-store' })
    await dispatch(fetch, outgoing, { Authorization: 'Bearer x' })
    expect(calls[0]).toHaveLength(1)
    const sent = calls[0]?.[0] as Request
    expect(sent).not.toBe(request)
    expect([sent.url, sent.cache, sent.headers.get('x-own'), sent.headers.get('authorization')]).toEqual([
      url,
      'no-store',
      '1',
      'Bearer x',
    ])
    expect(request.headers.has('authorization')).toBe(false)
    expect(outgoing.spare).toBeUndefined()
  })

  it('takes what is no field of an init along beside it, and nothing else', async () => {
    const { calls, fetch } = recorder()
    const init = Object.freeze({ method: 'POST', body: 'text', dispatcher: 'own' })
    await dispatch(fetch, take(new Request(url), init), undefined)
    expect(calls[0]?.[1]).toEqual({ dispatcher: 'own' })
    expect(calls[0]?.[0]).toHaveProperty('method', 'POST')
  })

  it('is sent three times with the same body, and a redirect mode where one is asked for', async () => {
    const { calls, fetch } = recorder()
    const outgoing = take(new Request(url, { method: 'POST', body: 'text' }))
    for (const redirect of ['manual', undefined, 'error'] as const) await dispatch(fetch, outgoing, undefined, redirect)
    const sent = calls.map(([request]) => request as Request)
    expect(await Promise.all(sent.map(request => request.text()))).toEqual(['text', 'text', 'text'])
    expect(sent.map(({ redirect }) => redirect)).toEqual(['manual', 'follow', 'error'])
    expect(new Set(sent).size).toBe(3)
  })

  it('without a body is made anew for each send, so that no header of an earlier one is left', async () => {
    const { calls, fetch } = recorder()
    const outgoing = take(new Request(url))
    await dispatch(fetch, outgoing, undefined)
    await dispatch(fetch, outgoing, { DPoP: 'proof' })
    const [first, second] = calls.map(([request]) => request as Request)
    expect(first).toBe(outgoing.request)
    expect(first).not.toBe(second)
    expect(outgoing.spare).toBeUndefined()
    expect(take(new Request(url, { method: 'POST' })).spare).toBeUndefined()
    expect([first?.headers.has('dpop'), second?.headers.get('dpop')]).toEqual([false, 'proof'])
  })

  it('lets go of the body that it kept, once, and is quiet where there is none', async () => {
    const outgoing = take(new Request(url, { method: 'POST', body: 'text' }))
    const { spare } = outgoing
    release(outgoing)
    expect(outgoing.spare).toBeUndefined()
    expect(await spare?.body?.getReader().read()).toEqual({ done: true, value: undefined })
    release(outgoing)
    const locked = take(new Request(url, { method: 'POST', body: 'text' }))
    locked.spare?.body?.getReader() // its cancel rejects
    release(locked)
    release({ ...locked, spare: { body: null } as Request })
  })

  it('tells the Content-Type that a body by init brought', () => {
    const headers = (outgoing: Outgoing) => Object.fromEntries(outgoing.headers as Headers)
    const json = take(new Request(url, { method: 'POST', headers: { 'X-Own': '1' } }), {
      body: new Blob(['{}'], { type: 'a/b' }),
    })
    expect(headers(json)).toEqual({ 'content-type': 'a/b', 'x-own': '1' })
    expect(headers(take(new Request(url, { headers: { 'X-Own': '1' } }), { method: 'PUT' }))).toEqual({ 'x-own': '1' })
    expect(headers(take(new Request(url), { headers: new Headers({ a: 'b' }) }))).toEqual({ a: 'b' })
  })

  it('with a stream by init gets the duplex that the platform asks for, unless its caller wrote one', async () => {
    const post = { method: 'POST', body: new Blob(['text']).stream() }
    expect(await take(new Request(url), post).request?.text()).toBe('text')
    expect('duplex' in post).toBe(false)
    const wrong = { method: 'POST', body: new Blob(['text']).stream(), duplex: 'full' } as RequestInit
    expect(() => take(new Request(url), wrong)).toThrow(TypeError)
  })

  describe('of another kind', () => {
    /** As React Native has it: it shows no body. */
    function kindNamed(name: string) {
      const Kind = class {
        readonly url: string
        readonly method: string
        readonly headers: Headers
        readonly signal = null
        constructor(input: string | { url: string; method: string; headers: Headers }, init: RequestInit = {}) {
          this.url = typeof input === 'string' ? input : input.url
          this.method = init.method ?? (typeof input === 'string' ? 'GET' : input.method)
          this.headers = new Headers(init.headers ?? (typeof input === 'string' ? {} : input.headers))
        }
        clone() {
          return new Kind(this)
        }
      }
      Object.defineProperty(Kind, 'name', { value: name })
      return Kind as unknown as typeof Request
    }

    it.each([
      ['GET', false],
      ['HEAD', false],
      ['head', false],
      ['POST', true],
      ['DELETE', true],
      ['FORGET', true],
      ['HEADER', true],
    ])('that shows no body: a %s is kept for a second send: %s', (method, isKept) => {
      const Kind = kindNamed('Request')
      const outgoing = take(new Kind(url, { method }))
      expect(outgoing.request).toBeInstanceOf(Kind)
      expect(!!outgoing.spare).toBe(isKept)
    })

    it('that is not called Request is made into the platform’s own', () => {
      class Own extends Request {}
      const outgoing = take(new Own(url, { method: 'PUT' }))
      expect(outgoing.request?.constructor).toBe(Request)
      expect(outgoing.method).toBe('PUT')
    })
  })
})

describe('redirected', () => {
  const here = 'https://api.example.com/other'
  const there = 'https://other.example.com/'
  const headers = {
    'X-Own': '1',
    'Content-Type': 'a/b',
    'content-length': '4',
    'Content-Encoding': 'br',
    'Content-Language': 'en',
    'Content-Location': '/x',
    Cookie: 'a=b',
    'Proxy-Authorization': 'Basic x',
    Host: 'api.example.com',
    'X-Content-Type': 'own',
    'Content-Type-Of': 'own',
    'X-Cookie': 'own',
    'Cookie-2': 'own',
  }
  const names = (outgoing: Outgoing | undefined) => [...new Headers(outgoing?.headers).keys()].sort()
  const own = ['content-type-of', 'cookie-2', 'x-content-type', 'x-cookie', 'x-own']
  const credentials = ['cookie', 'host', 'proxy-authorization']
  const content = ['content-encoding', 'content-language', 'content-length', 'content-location', 'content-type']

  it.each([
    [301, 'POST', 'GET'],
    [302, 'post', 'GET'],
    [303, 'POST', 'GET'],
    [303, 'PUT', 'GET'],
    [303, 'GET', 'GET'],
    [303, 'HEAD', 'HEAD'],
    [303, 'HEADER', 'GET'],
    [303, 'FORGET', 'GET'],
    [301, 'PUT', 'PUT'],
    [302, 'DELETE', 'DELETE'],
    [302, 'POSTAL', 'POSTAL'],
    [302, 'COMPOST', 'COMPOST'],
    [307, 'POST', 'POST'],
    [308, 'POST', 'POST'],
  ])('by %d, %s goes on as %s', (status, method, expected) => {
    const hasBody = !/^(get|head)$/i.test(method)
    const init = { method, headers, redirect: 'manual' as const, ...(hasBody && { body: 'text' }) }
    const becomesGet = hasBody && expected === 'GET'
    const next = redirected(take(url, init), here, status)
    expect(next).toMatchObject({ url: here, method: expected, redirect: 'manual' })
    expect(next?.init?.body).toBe(hasBody && !becomesGet ? 'text' : undefined)
    expect(names(next)).toEqual([...own, ...credentials, ...(becomesGet ? [] : content)].sort())
  })

  it.each([
    ['an object', () => ({ ...headers })],
    ['pairs', () => Object.entries(headers)],
    ['a Headers', () => new Headers(headers)],
  ])('leaves credentials behind across origins, and what described a body with it: %s', (_what, make) => {
    const outgoing = take(url, { method: 'POST', body: 'text', headers: make() })
    expect(names(redirected(outgoing, there, 307))).toEqual([...own, ...content].sort())
    expect(names(redirected(outgoing, there, 303))).toEqual(own)
    expect(names(redirected(outgoing, here, 303))).toEqual([...own, ...credentials].sort())
    expect(names(outgoing)).toEqual([...own, ...credentials, ...content].sort())
  })

  it('does without headers and without init', () => {
    expect(redirected(take(url), there, 302)).toMatchObject({ url: there, method: 'GET' })
    expect(redirected(take(url), here, 307)).toMatchObject({ url: here, method: 'GET' })
    expect(names(redirected(take(url), there, 302))).toEqual([])
  })

  it('takes all of a Request along, and its body where it is to be sent again', async () => {
    const { signal } = new AbortController()
    const init = { credentials: 'include', cache: 'no-store', method: 'POST', body: 'text', signal } as const
    const request = new Request(url, { ...init, headers: { 'X-Own': '1' } })
    const outgoing = take(request, { dispatcher: 'own', redirect: 'manual' } as RequestInit)
    const next = redirected(outgoing, here, 307)
    expect(next).toMatchObject({ url: here, method: 'POST', redirect: 'manual', init: { dispatcher: 'own' } })
    expect([next?.request?.credentials, next?.request?.cache]).toEqual(['include', 'no-store'])
    expect(next?.request?.headers.get('x-own')).toBe('1')
    expect(await next?.request?.text()).toBe('text')
    expect(await outgoing.spare?.text()).toBe('text') // and another redirect may follow
  })

  it('drops the body of a Request that becomes a GET, and its credentials across origins', () => {
    const request = new Request(url, { method: 'POST', body: 'text', headers })
    const outgoing = take(request)
    const next = redirected(outgoing, there, 303)
    expect(next).toMatchObject({ url: there, method: 'GET', spare: undefined })
    expect(next?.request?.body).toBeNull()
    expect(names(next)).toEqual(own)
    expect([...(next?.request?.headers.keys() ?? [])].sort()).toEqual(own)
  })

  it('keeps a Request alive only where it has no body', () => {
    const alive = take(new Request(url, { keepalive: true }))
    expect(redirected(alive, here, 307)?.request?.keepalive).toBe(true)
    const post = take(new Request(url, { method: 'POST', body: 'text', keepalive: true }))
    expect(redirected(post, here, 307)?.request?.keepalive).toBe(false)
  })

  it('is still ended by the signal of its Request', () => {
    const abort = new AbortController()
    const next = redirected(take(new Request(url, { signal: abort.signal })), here, 307)
    abort.abort()
    expect(next?.request?.signal.aborted).toBe(true)
  })
})
