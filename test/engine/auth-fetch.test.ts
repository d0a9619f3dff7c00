import { describe, expect, it, vi } from 'vitest'
import {
  type Attach,
  createSession,
  type Grant,
  type GrantFunction,
  memoryStorage,
  refused,
  type SessionOptions,
  type StepUpRequest,
  type TokenSet,
} from '../../src/index.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { deferred, settle } from './contexts-fakes.ts'

const resources = 'https://api.example.com'
const url = `${resources}/items`
const invalid = { status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token"' } }

interface Call {
  url: string
  method: string
  authorization: string | null
  headers: Headers
  redirect: string | undefined
  input: unknown
  init: RequestInit | undefined
}
type Answer = Response | (() => Response | Promise<Response>)

/** A session over a fetch that answers by hand: the last answer stands for all that follow. */
function setUp(answers: Answer[], { grant, ...options }: Partial<SessionOptions<void>> = {}) {
  const clock = createClock()
  const calls: Call[] = []
  let renewals = 0
  const session = createSession<void>({
    resources,
    clock,
    storage: memoryStorage(), // a chosen one: nobody is warned of several users
    fetch: (async (input: string | Request, init?: RequestInit) => {
      const isRequest = typeof input === 'object' && input !== null
      const headers = new Headers(isRequest ? input.headers : init?.headers)
      calls.push({
        url: isRequest ? input.url : input,
        method: (isRequest ? input.method : init?.method) ?? 'GET',
        authorization: headers.get('authorization'),
        headers,
        redirect: isRequest ? input.redirect : init?.redirect,
        input,
        init,
      })
      const answer = answers[Math.min(calls.length, answers.length) - 1] as Answer
      return typeof answer === 'function' ? answer() : answer.clone()
    }) as typeof fetch,
    grant: (grant ?? (async () => ({ access_token: secret(`new-${++renewals}`), expires_in: 300 }))) as GrantFunction,
    ...options,
  })
  const degraded: string[] = []
  session.on('degraded', ({ what }) => degraded.push(what))
  /** Signed in, with a token that is old enough for its 401 to be worth a renewal. */
  const signIn = async ({
    expires_in = 300,
    ageMs = 10_000,
    ...more
  }: {
    expires_in?: number
    ageMs?: number
    id_token?: string
  } = {}) => {
    await session.adopt({ access_token: secret('old'), refresh_token: secret('r'), expires_in, ...more })
    clock.advance(ageMs)
  }
  return { session, calls, clock, degraded, signIn, renewals: () => renewals }
}

const ok = () => new Response('ok')
const refusal = () => new Response('no', invalid)
const bearer = (name: string) => `Bearer ${secret(name)}`
const authorizations = (calls: Call[]) => calls.map(({ authorization }) => authorization)

/** What an answer has left behind of itself: read, cancelled, or neither. */
function tracked(status: number, headers: Record<string, string> = {}, body: string | null = 'body') {
  const response = new Response(body, { status, headers })
  const fate = { isRead: false, isCancelled: false }
  const { body: stream } = response
  if (stream) {
    const cancel = stream.cancel.bind(stream)
    stream.cancel = reason => {
      fate.isCancelled = true
      return cancel(reason)
    }
  }
  const arrayBuffer = response.arrayBuffer.bind(response)
  response.arrayBuffer = () => {
    fate.isRead = true
    return arrayBuffer()
  }
  return { response, fate }
}

describe('every input of fetch', () => {
  it.each([
    ['text', url],
    ['a URL', new URL(url)],
    ['a Request', new Request(url)],
    ['what has a toString', { toString: () => url } as unknown as URL],
    [
      'text and an init of a class',
      url,
      new (class {
        headers = { 'X-Own': '1' }
      })(),
    ],
  ])('as %s goes out with the token', async (_what, input, init?: RequestInit) => {
    const { session, calls, signIn } = setUp([ok()])
    await signIn()
    expect((await session.fetch(input, init)).status).toBe(200)
    expect(calls).toMatchObject([{ url, method: 'GET', authorization: bearer('old') }])
    if (init) expect(calls[0]?.headers.get('x-own')).toBe('1')
  })

  it('that is read only once is what was looked at', async () => {
    const { session, calls, signIn } = setUp([ok()])
    await signIn()
    const urls = [url, 'https://evil.test/']
    await session.fetch({ toString: () => urls.shift() } as unknown as URL)
    expect(calls).toMatchObject([{ url }])
  })

  it('that the platform refuses is the platform’s to refuse', async () => {
    const { session, signIn, calls } = setUp([ok()])
    await signIn()
    const used = new Request(url, { method: 'POST', body: 'x' })
    await used.text()
    await session.fetch(used)
    expect(calls).toMatchObject([{ input: used, authorization: null }])
    await session.fetch(null as never)
    expect(calls[1]?.input).toBeNull()
  })

  it('where the resources are wrong rejects and says so', async () => {
    const { session, calls } = setUp([ok()], { resources: '/api' })
    await expect(session.fetch(url)).rejects.toMatchObject({ code: 'misconfigured' })
    expect(calls).toEqual([])
  })

  it('outside of the resources goes out as it came', async () => {
    const { session, calls, signIn } = setUp([refusal()])
    await signIn()
    const [request, init] = [new Request('https://other.example.com/'), { method: 'PUT' }]
    expect((await session.fetch(request, init)).status).toBe(401)
    expect(calls).toHaveLength(1)
    expect([calls[0]?.input, calls[0]?.init]).toEqual([request, init])
  })
})

describe('who may not call', () => {
  it.each(['text', 'Request'])('is told, before anything is sent: %s', async kind => {
    const { session, calls, signIn } = setUp([ok()])
    await signIn()
    session.dispose()
    await expect(session.fetch(kind === 'text' ? url : new Request(url))).rejects.toMatchObject({ code: 'disposed' })
    expect(calls).toEqual([])
  })

  it('is sent without a token where nobody is signed in and the app wants that, and only then', async () => {
    const { session, calls, signIn } = setUp([refusal()], {
      whenSignedOut: 'send-anonymously',
      grant: () => Promise.reject({ status: 503 }),
    })
    const answer = await session.fetch(url, { method: 'POST', body: 'x', headers: { 'X-Own': '1' } })
    expect(answer.status).toBe(401)
    expect(calls).toMatchObject([{ method: 'POST', authorization: null }])
    expect(calls[0]?.headers.get('x-own')).toBe('1')
    await signIn({ ageMs: 301_000 })
    await expect(session.fetch(url)).rejects.toMatchObject({ code: 'unreachable' })
    expect(calls).toHaveLength(1)
    const strict = setUp([ok()])
    await expect(strict.session.fetch(url)).rejects.toMatchObject({ code: 'signed_out' })
    expect(strict.calls).toEqual([])
  })
})

describe('a 401', () => {
  it('of an old token is answered by a new one, once', async () => {
    const { session, calls, signIn, renewals } = setUp([refusal()])
    await signIn()
    const answer = await session.fetch(`${url}?a=b`, { method: 'put', body: 'x', headers: { 'X-Own': '1' } })
    expect(answer.status).toBe(401)
    expect(await answer.text()).toBe('no')
    expect(authorizations(calls)).toEqual([bearer('old'), bearer('new-1')])
    for (const call of calls) expect([call.init?.body, call.headers.get('x-own')]).toEqual(['x', '1'])
    expect(renewals()).toBe(1)
  })

  it('of a young token is the answer', async () => {
    const { session, calls, signIn, renewals } = setUp([refusal()])
    await signIn({ ageMs: 4999 })
    expect((await session.fetch(url)).status).toBe(401)
    expect([calls.length, renewals()]).toEqual([1, 0])
  })

  it('of one that is exactly as old as it has to be is not', async () => {
    const { session, calls, signIn } = setUp([refusal(), ok()])
    await signIn({ ageMs: 5000 })
    expect((await session.fetch(url)).status).toBe(200)
    expect(calls).toHaveLength(2)
  })

  it('of a young token is worth a renewal to a grant that brings another one each time', async () => {
    const grant: Grant<void> = { renew: async () => ({ access_token: secret('other') }), renewsAtOnce: true }
    const { session, calls, signIn } = setUp([refusal(), ok()], { grant })
    await signIn({ ageMs: 0 })
    expect((await session.fetch(url)).status).toBe(200)
    expect(authorizations(calls)).toEqual([bearer('old'), bearer('other')])
  })

  it('of a young token that is dead by now takes a renewal', async () => {
    const answer = deferred<Response>()
    const { session, calls, clock, signIn } = setUp([() => answer.promise, ok()])
    await signIn({ expires_in: 3, ageMs: 0 })
    const call = session.fetch(url)
    await settle()
    clock.advance(3000)
    answer.resolve(refusal())
    expect((await call).status).toBe(200)
    expect(authorizations(calls)).toEqual([bearer('old'), bearer('new-1')])
  })

  it('of a token that nothing can renew is the answer', async () => {
    const { session, calls, signIn } = setUp([refusal()], { grant: {} })
    await signIn()
    expect((await session.fetch(url)).status).toBe(401)
    expect(calls).toHaveLength(1)
    expect(session.state.status).toBe('signed-in')
  })

  it('of a token that was replaced meanwhile is answered by that one, without a renewal', async () => {
    const answer = deferred<Response>()
    const { session, calls, signIn, renewals } = setUp([() => answer.promise, ok()])
    await signIn()
    const call = session.fetch(url)
    await settle()
    await session.renew()
    answer.resolve(refusal())
    expect((await call).status).toBe(200)
    expect(authorizations(calls)).toEqual([bearer('old'), bearer('new-1')])
    expect(renewals()).toBe(1)
  })

  it.each([300_000, 301_000])('of one that was replaced by what is dead after %d ms takes a renewal', async ms => {
    const answer = deferred<Response>()
    const { session, calls, clock, signIn, renewals } = setUp([() => answer.promise, ok()])
    await signIn()
    const call = session.fetch(url)
    await settle()
    await session.renew()
    clock.advance(ms)
    answer.resolve(refusal())
    expect((await call).status).toBe(200)
    expect(authorizations(calls)).toEqual([bearer('old'), bearer('new-2')])
    expect(renewals()).toBe(2)
  })

  it('that comes after the end of the sign-in is signed_out, with the answer', async () => {
    for (const end of ['signOut', 'adopt'] as const) {
      const answer = deferred<Response>()
      const { session, calls, signIn } = setUp([() => answer.promise, ok()])
      await signIn()
      const call = session.fetch(url)
      await settle()
      if (end === 'signOut') await session.signOut()
      else await session.adopt({ access_token: secret('another') })
      const response = refusal()
      answer.resolve(response)
      await expect(call).rejects.toMatchObject({ code: 'signed_out', challenge: response })
      expect(calls).toHaveLength(1)
    }
  })

  it('whose renewal fails is told with the answer, and keeps the session', async () => {
    const response = refusal()
    const { session, signIn } = setUp([() => response], {
      grant: () => Promise.reject({ status: 503, retryAfter: '60' }),
    })
    await signIn()
    const error = await session.fetch(url).catch(caught => caught)
    expect(error).toMatchObject({ code: 'unreachable', challenge: response })
    expect(response.bodyUsed).toBe(false)
    expect(session.state.status).toBe('signed-in')
  })

  it('whose renewal is refused ends the session, and so does the next where it was refused before', async () => {
    const { session, signIn } = setUp([refusal()], { grant: () => Promise.reject(refused()) })
    await signIn()
    await expect(session.fetch(url)).rejects.toMatchObject({ code: 'signed_out', challenge: { status: 401 } })
    expect(session.state).toEqual({ status: 'signed-out', reason: 'refused' })
    await signIn()
    await expect(session.renew()).rejects.toMatchObject({ code: 'signed_out' })
    expect(session.state.status).toBe('signed-in') // its access token still lives
    await expect(session.fetch(url)).rejects.toMatchObject({ code: 'signed_out', challenge: { status: 401 } })
    expect(session.state).toEqual({ status: 'signed-out', reason: 'refused' })
  })

  it('whose sign-in is replaced during the renewal is signed_out', async () => {
    const answer = deferred<object>()
    const { session, calls, signIn } = setUp([refusal()], { grant: () => answer.promise as never })
    await signIn()
    const call = session.fetch(url)
    await settle()
    await session.adopt({ access_token: secret('another') })
    answer.resolve({ access_token: secret('late') })
    await expect(call).rejects.toMatchObject({ code: 'signed_out', challenge: { status: 401 } })
    expect(calls).toHaveLength(1)
  })

  it('waits no longer for the renewal than its caller', async () => {
    const { session, signIn } = setUp([refusal()], { grant: () => new Promise(() => undefined) })
    await signIn()
    const [abort, reason] = [new AbortController(), new Error('own reason')]
    const call = session.fetch(url, { signal: abort.signal })
    await settle()
    abort.abort(reason)
    await expect(call).rejects.toBe(reason)
  })

  it('of a stream is the answer, and the next call has a new token', async () => {
    const { session, calls, signIn } = setUp([refusal(), ok()])
    await signIn()
    const stream = { method: 'POST', body: new ReadableStream(), duplex: 'half' } as RequestInit
    expect((await session.fetch(url, stream)).status).toBe(401)
    await session.fetch(url)
    expect(authorizations(calls)).toEqual([bearer('old'), bearer('new-1')])
  })

  it('of a stream whose renewal fails or is not waited for is the answer too', async () => {
    const { session, signIn } = setUp([refusal()], { grant: () => Promise.reject({ status: 503, retryAfter: '9' }) })
    await signIn()
    const abort = new AbortController()
    const stream = () => ({ method: 'POST', body: new ReadableStream(), duplex: 'half' }) as RequestInit
    expect((await session.fetch(url, stream())).status).toBe(401)
    const hung = setUp([refusal()], { grant: () => new Promise(() => undefined) })
    await hung.signIn()
    const call = hung.session.fetch(url, { ...stream(), signal: abort.signal })
    await settle()
    abort.abort()
    expect((await call).status).toBe(401)
  })

  it('of a stream, where another token came meanwhile, is the answer as well', async () => {
    const answer = deferred<Response>()
    const { session, calls, signIn, renewals } = setUp([() => answer.promise, ok()])
    await signIn()
    const call = session.fetch(url, { method: 'POST', body: new ReadableStream(), duplex: 'half' } as RequestInit)
    await settle()
    await session.renew()
    answer.resolve(refusal())
    expect((await call).status).toBe(401)
    expect([calls.length, renewals()]).toEqual([1, 1])
  })

  it('of a token that was waited for and arrived expired is the answer', async () => {
    let count = 0
    const { session, calls, signIn } = setUp([refusal()], {
      grant: async () => ({ access_token: secret(`dead-${++count}`), expires_in: 0 }),
    })
    await signIn({ ageMs: 301_000 })
    expect((await session.fetch(url)).status).toBe(401)
    expect(authorizations(calls)).toEqual([bearer('dead-1')])
    expect(count).toBe(1)
  })
})

describe('an answer that is not about the token', () => {
  it('of another origin, where a redirect led, is not judged', async () => {
    const foreign = () => Object.defineProperty(refusal(), 'url', { value: 'https://other.example.com/' })
    const { session, calls, signIn, degraded } = setUp([foreign])
    await signIn()
    expect((await session.fetch(url)).status).toBe(401)
    expect(calls).toHaveLength(1)
    expect(degraded).toEqual([])
  })

  it('of the same origin, where a redirect led, is, and the platform that may have lost the token is told once', async () => {
    const moved = () => Object.defineProperty(refusal(), 'url', { value: `${resources}/moved` })
    const { session, calls, signIn, degraded } = setUp([moved])
    await signIn()
    await session.fetch(url)
    await session.fetch(url)
    expect(calls.length).toBeGreaterThan(1)
    expect(degraded).toEqual(['redirects'])
  })

  it('that was moved and is no 401 says nothing about it', async () => {
    const moved = () => Object.defineProperty(new Response('', { status: 404 }), 'url', { value: `${resources}/moved` })
    const { session, signIn, degraded, calls } = setUp([moved])
    await signIn()
    expect((await session.fetch(url)).status).toBe(404)
    expect([degraded, calls.length]).toEqual([[], 1])
  })

  it.each([400, 403, 404, 429, 500])('%d is the answer, unread', async status => {
    const { session, calls, signIn } = setUp([new Response('why', { status })])
    await signIn()
    const answer = await session.fetch(url)
    expect([answer.status, answer.bodyUsed, calls.length]).toEqual([status, false, 1])
  })
})

describe('the app’s own idea of a refusal', () => {
  const graphQl = () => new Response('{"errors":["UNAUTHENTICATED"]}')

  it('is asked about a copy, with method and URL, about each first answer', async () => {
    const asked: unknown[] = []
    const { session, calls, signIn } = setUp([graphQl()], {
      isAuthFailure: async (response, request) => {
        asked.push(request, await response.text())
        return true
      },
    })
    await signIn()
    const answer = await session.fetch(url, { method: 'post', body: 'query' })
    expect(await answer.text()).toContain('UNAUTHENTICATED')
    expect(asked).toEqual([{ method: 'POST', url }, '{"errors":["UNAUTHENTICATED"]}'])
    expect(authorizations(calls)).toEqual([bearer('old'), bearer('new-1')])
  })

  it.each([
    ['false', () => false],
    ['what is not true', () => 1 as never],
    [
      'a failure',
      () => {
        throw new Error('bug')
      },
    ],
  ])('%s makes the answer the answer, also a 401', async (_what, isAuthFailure) => {
    const { session, calls, signIn } = setUp([refusal()], { isAuthFailure })
    await signIn()
    const answer = await session.fetch(url)
    expect([answer.status, await answer.text(), calls.length]).toEqual([401, 'no', 1])
  })

  it('leaves what it did not read to nobody, or it would be buffered', async () => {
    let copy: Response | undefined
    const { session, signIn } = setUp([ok()], {
      isAuthFailure(response) {
        copy = response
        return false
      },
    })
    await signIn()
    await session.fetch(url)
    expect(copy?.bodyUsed).toBe(true) // cancelled
    const empty = setUp([() => new Response(null, { status: 204 })], { isAuthFailure: () => false })
    await empty.signIn()
    expect((await empty.session.fetch(url)).status).toBe(204)
  })
})

describe('an attach that asks for a second send', () => {
  const nonces = (more: Partial<Attach> = {}): Attach =>
    Object.assign(() => ({ Authorization: 'DPoP x' }), { retry: vi.fn(() => true), ...more }) as Attach

  it('gets it once, without a renewal', async () => {
    const attach = nonces()
    const { session, calls, signIn, renewals } = setUp([ok()], { attach })
    await signIn()
    expect((await session.fetch(url, { method: 'put' })).status).toBe(200)
    expect([calls.length, renewals()]).toEqual([2, 0])
    expect(attach.retry).toHaveBeenCalledTimes(2)
    expect(vi.mocked(attach.retry as NonNullable<Attach['retry']>).mock.calls[0]).toMatchObject([
      { status: 200 },
      { method: 'PUT', url },
    ])
  })

  it('does not get it for a sign-in that has ended by then, and what was answered is let go', async () => {
    const answer = deferred<Response>()
    const { session, calls, signIn } = setUp([() => answer.promise], { attach: nonces() })
    await signIn()
    const call = session.fetch(url)
    await settle()
    await session.signOut()
    const { response, fate } = tracked(200)
    answer.resolve(response)
    await expect(call).rejects.toMatchObject({ code: 'signed_out' })
    expect([calls.length, fate.isCancelled]).toEqual([1, true])
  })

  it('does not get it for a stream, nor where it does not ask', async () => {
    const { session, calls, signIn } = setUp([ok()], { attach: nonces() })
    await signIn()
    await session.fetch(url, { method: 'POST', body: new ReadableStream(), duplex: 'half' } as RequestInit)
    expect(calls).toHaveLength(1)
    const other = setUp([ok()], { attach: nonces({ retry: async () => false }) })
    await other.signIn()
    await other.session.fetch(url)
    expect(other.calls).toHaveLength(1)
  })

  it('may get it beside a renewal', async () => {
    const retry = vi.fn().mockReturnValueOnce(true).mockReturnValue(false)
    const { session, calls, signIn, renewals } = setUp([refusal(), refusal(), ok()], { attach: nonces({ retry }) })
    await signIn()
    expect((await session.fetch(url)).status).toBe(200)
    expect([calls.length, renewals()]).toEqual([3, 1])
  })
})

describe('an attach that takes its time', () => {
  it.each(['signOut', 'adopt'] as const)('sends nothing for a sign-in that ended meanwhile, by %s', async end => {
    const headers = deferred<Record<string, string>>()
    const { session, calls, signIn } = setUp([ok()], { attach: () => headers.promise })
    await signIn()
    const call = session.fetch(url)
    await settle()
    await (end === 'signOut' ? session.signOut() : session.adopt({ access_token: secret('another') }))
    headers.resolve({ Authorization: bearer('old') })
    await expect(call).rejects.toMatchObject({ code: 'signed_out' })
    expect(calls).toEqual([])
  })

  it('sends what it gives', async () => {
    const { session, calls, signIn } = setUp([ok()], {
      attach: async ({ method }) => ({ Authorization: `own ${method}` }),
    })
    await signIn()
    await session.fetch(url, { method: 'put' })
    expect(authorizations(calls)).toEqual(['own PUT'])
  })

  it('that fails is the answer', async () => {
    for (const attach of [
      () => Promise.reject(new Error('no key')),
      () => {
        throw new Error('no key')
      },
    ]) {
      const { session, calls, signIn } = setUp([ok()], { attach })
      await signIn()
      await expect(session.fetch(url)).rejects.toThrow('no key')
      expect(calls).toEqual([])
    }
  })
})

describe('an attach whose credential is the same for all requests', () => {
  function constant() {
    const authorization = vi.fn(({ accessToken }: TokenSet) => `Own ${accessToken}`)
    const headers = vi.fn(async (_request: unknown, { accessToken }: TokenSet) => ({ 'x-slow': accessToken }))
    return { attach: Object.assign(headers, { authorization }) as Attach, authorization, headers }
  }

  it('is asked for it once a token, and never about a request', async () => {
    const { attach, authorization, headers } = constant()
    const { session, calls, signIn } = setUp([ok()], { attach })
    await signIn()
    for (const init of [undefined, { method: 'PUT', body: 'x', headers: { 'X-Own': '1' } }]) {
      await session.fetch(url, init)
    }
    await session.renew()
    await session.fetch(new URL(url))
    expect(authorizations(calls)).toEqual(['old', 'old', 'new-1'].map(name => `Own ${secret(name)}`))
    expect(authorization.mock.calls.map(([tokens]) => tokens.accessToken)).toEqual([secret('old'), secret('new-1')])
    expect(headers).not.toHaveBeenCalled()
  })

  it.each([
    ['a Request', new Request(url), undefined, {}],
    ['an init of a class', url, new (class {})(), {}],
    ['one whose every answer the app judges', url, undefined, { isAuthFailure: () => false }],
    ['one that the app hears of', url, undefined, { hears: true }],
  ] as [string, string | Request, RequestInit | undefined, Partial<SessionOptions<void>> & { hears?: true }][])(
    'is asked about %s',
    async (_what, input, init, { hears, ...options }) => {
      const { attach, authorization, headers } = constant()
      const { session, calls, signIn } = setUp([ok()], { attach, redirects: 'platform', ...options })
      if (hears) session.on('request', () => undefined)
      await signIn()
      await session.fetch(input, init)
      expect(calls[0]?.headers.get('x-slow')).toBe(secret('old'))
      expect([headers.mock.calls.length, authorization.mock.calls.length]).toEqual([1, 0])
    },
  )

  it('is asked about every request where it may want a second send', async () => {
    const { attach, headers } = constant()
    const { session, signIn } = setUp([ok()], { attach: Object.assign(attach, { retry: () => false }) })
    await signIn()
    await session.fetch(url)
    expect(headers).toHaveBeenCalledTimes(1)
  })

  it('and fails, is the answer', async () => {
    const { attach, authorization } = constant()
    authorization.mockImplementation(() => {
      throw new Error('no key')
    })
    const { session, calls, signIn } = setUp([ok()], { attach })
    await signIn()
    await expect(session.fetch(url)).rejects.toThrow('no key')
    expect(calls).toEqual([])
  })
})

describe('a credential in a header of its own', () => {
  const attach = vi.fn<Attach>(({ url: to }) => ({ 'x-api-key': secret(new URL(to).pathname) }))

  it('does not take the place of the caller’s own, whose answer is the caller’s', async () => {
    const { session, calls, signIn } = setUp([refusal()], { attach })
    await signIn()
    expect((await session.fetch(url, { headers: { 'X-API-Key': 'own' } })).status).toBe(401)
    expect(calls).toHaveLength(1)
    expect(calls[0]?.headers.get('x-api-key')).toBe('own')
  })

  it('is put anew on each hop inside of the resources, and on none outside', async () => {
    const to = (location: string) => new Response(null, { status: 302, headers: { location } })
    const answers = [to('/second'), to('https://other.example.com/third'), to(`${resources}/fourth`), ok()]
    const made = vi.fn(attach)
    const { session, calls, signIn } = setUp(answers, { attach: made })
    await signIn()
    attach.mockClear()
    expect((await session.fetch(url)).status).toBe(200)
    expect(made.mock.calls.map(([request]) => request.url)).toEqual([url, `${resources}/second`, `${resources}/fourth`])
    expect(calls.map(({ headers }) => headers.get('x-api-key'))).toEqual([
      secret('/items'),
      secret('/second'),
      null,
      secret('/fourth'),
    ])
    expect(calls.map(({ redirect }) => redirect)).toEqual(Array(4).fill('manual'))
  })

  it.each(['manual', 'error'] as const)('leaves the caller’s own %s to the platform', async redirect => {
    const { session, calls, signIn } = setUp([new Response(null, { status: 302, headers: { location: '/b' } })], {
      attach,
    })
    await signIn()
    expect((await session.fetch(url, { redirect })).status).toBe(302)
    expect(calls).toMatchObject([{ redirect }])
    expect(calls[0]?.headers.get('x-api-key')).toBe(secret('/items'))
  })

  it('goes along where the app wants it, and Authorization always does, in any case', async () => {
    const platform = setUp([ok()], { attach, redirects: 'platform' })
    await platform.signIn()
    await platform.session.fetch(url)
    expect(platform.calls[0]?.redirect).toBeUndefined()
    const lower = setUp([ok()], { attach: () => ({ authorization: 'own' }) })
    await lower.signIn()
    await lower.session.fetch(url)
    expect(lower.calls).toMatchObject([{ authorization: 'own', redirect: undefined }])
    const both = setUp([ok()], { attach: () => ({ 'x-key': '1', authorization: 'own' }) })
    await both.signIn()
    await both.session.fetch(url)
    expect(both.calls).toMatchObject([{ redirect: 'manual' }])
  })

  it('a fetch that follows by itself is told once', async () => {
    const moved = () => Object.defineProperty(ok(), 'url', { value: `${resources}/moved` })
    const { session, signIn, degraded } = setUp([moved], { attach })
    await signIn()
    await session.fetch(url)
    await session.fetch(url)
    expect(degraded).toEqual(['redirects'])
  })
})

describe('a resource that asks for more', () => {
  const jwt = (claims: object) => `${btoa('{"alg":"none"}')}.${btoa(JSON.stringify(claims))}.${secret('s')}`
  const stepUp = (error: string, more = '', status = 403) =>
    new Response('', { status, headers: { 'www-authenticate': `Bearer error="${error}"${more}` } })

  async function ask(answers: Answer[], onStepUp?: SessionOptions<void>['onStepUp'], init?: RequestInit) {
    const made = setUp(answers, onStepUp && { onStepUp })
    const told: StepUpRequest[] = []
    made.session.on('insufficient-scope', request => told.push(request))
    await made.signIn()
    const answer = await made.session.fetch(`${url}?secret#hash`, init)
    return { ...made, told, answer }
  }

  it.each([
    ['', {}],
    [', scope="a b"', { scope: 'a b' }],
    [', acr_values="high", max_age="0"', { acrValues: 'high', maxAge: 0 }],
    [', max_age=60', { maxAge: 60 }],
    [', max_age=-1', {}],
    [', max_age=soon, scope="", acr_values=""', {}],
  ])('is told what: %s', async (more, expected) => {
    const { told, answer, calls } = await ask([stepUp('insufficient_scope', more)])
    expect(told).toEqual([{ url, ...expected }])
    expect([answer.status, calls.length]).toEqual([403, 1])
  })

  it('is told of a 401 about the user’s authentication, which costs no renewal', async () => {
    const { told, answer, renewals } = await ask([stepUp('insufficient_user_authentication', '', 401)])
    expect([told.length, answer.status, renewals()]).toEqual([1, 401, 0])
  })

  it('is not told by another status, nor by another error', async () => {
    for (const response of [stepUp('insufficient_scope', '', 404), stepUp('invalid_token')])
      expect((await ask([response])).told).toEqual([])
  })

  it('is sent again once the app has stepped up, and only once', async () => {
    const onStepUp = vi.fn(async () => true)
    const { calls, told, answer } = await ask([stepUp('insufficient_scope')], onStepUp)
    expect([calls.length, told.length, answer.status]).toEqual([2, 2, 403])
    expect(onStepUp).toHaveBeenCalledTimes(1)
  })

  it('and lets go of what asked for it', async () => {
    const { response, fate } = tracked(403, { 'www-authenticate': 'Bearer error="insufficient_scope"' })
    const { answer } = await ask([() => response, ok()], () => true)
    expect([answer.status, fate.isCancelled]).toEqual([200, true])
  })

  it.each([() => false, () => 1 as never, () => Promise.resolve(false)])(
    'is not where the app says no: %s',
    async onStepUp => {
      const { calls, answer } = await ask([stepUp('insufficient_scope'), ok()], onStepUp)
      expect([calls.length, answer.status]).toEqual([1, 403])
    },
  )

  it('is not asked for a stream', async () => {
    const onStepUp = vi.fn(() => true)
    const init = { method: 'POST', body: new ReadableStream(), duplex: 'half' } as RequestInit
    const { told, calls } = await ask([stepUp('insufficient_scope')], onStepUp, init)
    expect([told.length, calls.length, onStepUp.mock.calls.length]).toEqual([1, 1, 0])
  })

  it.each([
    ['the same user', { sub: 'alice', iss: 'a' }, { sub: 'alice', iss: 'a' }, true],
    ['the same user of an issuer that is not named', { sub: 'alice' }, { sub: 'alice' }, true],
    ['another user', { sub: 'alice', iss: 'a' }, { sub: 'bob', iss: 'a' }, false],
    ['that name at another issuer', { sub: 'alice', iss: 'a' }, { sub: 'alice', iss: 'b' }, false],
    ['nobody who is known', {}, {}, false],
    ['somebody after nobody', {}, { sub: 'alice' }, false],
    ['nobody after somebody', { sub: 'alice' }, {}, false],
  ])('by a sign-in of %s: the request goes on: %s', async (_what, before, after, isSame) => {
    const made = setUp([stepUp('insufficient_scope'), ok()], {
      onStepUp: async () => {
        await made.session.adopt({ access_token: secret('stepped'), id_token: jwt(after) })
        return true
      },
    })
    await made.signIn({ id_token: jwt(before) })
    const call = made.session.fetch(url)
    if (isSame) expect((await call).status).toBe(200)
    else await expect(call).rejects.toMatchObject({ code: 'signed_out', challenge: { status: 403 } })
    expect(authorizations(made.calls)).toEqual([bearer('old'), ...(isSame ? [bearer('stepped')] : [])])
  })

  it.each([
    ['nobody', undefined, undefined],
    ['nobody after somebody', jwt({ sub: 'alice' }), undefined],
    ['somebody after nobody', undefined, jwt({ sub: 'alice' })],
  ])('by tokens that name %s does not go on', async (_what, before, after) => {
    const made = setUp([stepUp('insufficient_scope'), ok()], {
      onStepUp: async () => {
        await made.session.adopt({ access_token: secret('stepped'), ...(after && { id_token: after }) })
        return true
      },
    })
    await made.signIn(before ? { id_token: before } : {})
    await expect(made.session.fetch(url)).rejects.toMatchObject({ code: 'signed_out', challenge: { status: 403 } })
  })

  it('by tokens that are JWTs themselves is judged by those, and by a sign-out is the end', async () => {
    const made = setUp([stepUp('insufficient_scope'), ok()], {
      onStepUp: async () => {
        await made.session.adopt({ access_token: jwt({ sub: 'alice', scope: 'more' }) })
        return true
      },
    })
    await made.session.adopt({ access_token: jwt({ sub: 'alice' }) })
    expect((await made.session.fetch(url)).status).toBe(200)
    const gone = setUp([stepUp('insufficient_scope')], {
      onStepUp: async () => {
        await gone.session.signOut()
        return true
      },
    })
    await gone.signIn()
    await expect(gone.session.fetch(url)).rejects.toMatchObject({ code: 'signed_out' })
  })
})

describe('the request event', () => {
  it('tells each send, without query or hash', async () => {
    const { session, clock, signIn } = setUp([
      async () => {
        await undefined
        clock.advance(30)
        return refusal()
      },
      async () => {
        await undefined
        clock.advance(20)
        return ok()
      },
    ])
    const told: object[] = []
    session.on('request', report => told.push(report))
    await signIn()
    const startedAtMs = clock.now()
    await session.fetch(`${url}?secret#hash`, { method: 'post', body: 'x' })
    expect(told).toEqual([
      { method: 'POST', url, attempt: 1, status: 401, startedAtMs, durationMs: 30 },
      { method: 'POST', url, attempt: 2, status: 200, startedAtMs: startedAtMs + 30, durationMs: 20 },
    ])
  })

  it('tells a send that failed, without a status', async () => {
    const failure = new TypeError('Failed to fetch')
    const { session, signIn } = setUp([() => Promise.reject(failure)])
    const told: object[] = []
    session.on('request', report => told.push(report))
    await signIn()
    await expect(session.fetch(url)).rejects.toBe(failure)
    expect(told).toMatchObject([{ attempt: 1, durationMs: 0 }])
    expect(told[0]).not.toHaveProperty('status')
  })
})

describe('what an answer leaves behind when the request is sent again', () => {
  it.each([
    [
      'small: it is read, so that its connection lives on',
      { 'content-length': '16384' },
      { isRead: true, isCancelled: false },
    ],
    ['big: it is cancelled', { 'content-length': '16385' }, { isRead: false, isCancelled: true }],
    ['of unknown length: it is cancelled', {}, { isRead: false, isCancelled: true }],
  ])('%s', async (_what, headers, expected) => {
    const { response, fate } = tracked(401, headers as Record<string, string>)
    const { session, signIn } = setUp([() => response, ok()])
    await signIn()
    expect((await session.fetch(url)).status).toBe(200)
    expect(fate).toEqual(expected)
  })

  it.each([
    ['another nonce', { attach: Object.assign(() => ({ Authorization: 'DPoP x' }), { retry: () => true }) }, {}],
    ['more scope', { onStepUp: () => true }, { 'www-authenticate': 'Bearer error="insufficient_scope"' }],
  ] as [string, Partial<SessionOptions<void>>, Record<string, string>][])(
    'because it asked for %s: it is cancelled',
    async (_what, options, headers) => {
      const { response, fate } = tracked(403, headers)
      const { session, signIn, calls } = setUp([() => response, ok()], options)
      await signIn()
      expect((await session.fetch(url)).status).toBe(200)
      expect([calls.length, fate]).toEqual([2, { isRead: false, isCancelled: true }])
    },
  )

  it('nothing: nothing is done', async () => {
    const { response, fate } = tracked(401, { 'content-length': '0' }, null)
    const { session, signIn } = setUp([() => response, ok()])
    await signIn()
    expect((await session.fetch(url)).status).toBe(200)
    expect(fate).toEqual({ isRead: false, isCancelled: false })
  })

  it('a body that fails to end is nobody’s error', async () => {
    const { response } = tracked(401)
    if (response.body) response.body.cancel = () => Promise.reject(new Error('broken'))
    const { session, signIn } = setUp([() => response, ok()])
    await signIn()
    expect((await session.fetch(url)).status).toBe(200)
    await settle()
  })
})

describe('the body of a Request that is kept for a second send', () => {
  /** A kind of Request that tells whether the clone that waits was let go. */
  function kept() {
    const cancelled: string[] = []
    let clones = 0
    const Kind = class {
      readonly method = 'POST'
      readonly url: string
      readonly headers: Headers
      readonly body: object
      readonly name: string
      readonly signal = null
      constructor(input: string | { url: string; headers: Headers }, name = 'original') {
        this.url = typeof input === 'string' ? input : input.url
        this.headers = new Headers(typeof input === 'string' ? {} : input.headers)
        this.name = name
        this.body = { cancel: async () => void cancelled.push(this.name) }
      }
      clone() {
        return new Kind(this, `clone-${++clones}`)
      }
    }
    Object.defineProperty(Kind, 'name', { value: 'Request' })
    return { cancelled, request: new Kind(url) as unknown as Request }
  }

  it.each([
    ['a success', [ok()], {}, {}],
    ['an error', [new Response('', { status: 404 })], {}, {}],
    ['a 401 that can not be helped', [refusal()], {}, { ageMs: 0 }],
    ['an answer that the app was asked about', [ok()], { isAuthFailure: () => false }, {}],
    [
      'the answer of another origin',
      [() => Object.defineProperty(refusal(), 'url', { value: 'https://x.test/' })],
      {},
      {},
    ],
    ['a failure to send', [() => Promise.reject(new TypeError('Failed to fetch'))], {}, {}],
    ['a renewal that fails', [refusal()], { grant: () => Promise.reject({ status: 429, retryAfter: '9' }) }, {}],
    ['nobody who is signed in', [ok()], {}, { isOut: true }],
    ['a caller’s own credential', [ok()], { attach: () => ({ 'x-own': '1' }) }, { hasOwn: true }],
    ['the end of the session', [refusal()], { grant: () => Promise.reject(refused()) }, {}],
    ['a token that is dead and can not be renewed', [ok()], { grant: {} }, { ageMs: 301_000 }],
  ] as [string, Answer[], Partial<SessionOptions<void>>, { ageMs?: number; isOut?: boolean; hasOwn?: boolean }][])(
    'is let go after %s',
    async (_what, answers, options, { isOut, hasOwn, ...how }) => {
      const { session, signIn } = setUp(answers, options)
      if (!isOut) await signIn(how)
      const { cancelled, request } = kept()
      if (hasOwn) request.headers.set('x-own', 'mine')
      await session.fetch(request).catch(() => undefined)
      await settle()
      expect(cancelled).toEqual(['clone-1'])
    },
  )

  it('is let go where the sign-in has ended by the time of the answer', async () => {
    const answer = deferred<Response>()
    const { session, signIn } = setUp([() => answer.promise])
    await signIn()
    const { cancelled, request } = kept()
    const call = session.fetch(request)
    await settle()
    await session.signOut()
    answer.resolve(refusal())
    await expect(call).rejects.toMatchObject({ code: 'signed_out' })
    expect(cancelled).toEqual(['clone-1'])
  })

  it('is let go where the Request says it goes to the API and does not', async () => {
    const { session, signIn, calls } = setUp([ok()])
    await signIn()
    const { cancelled, request } = kept()
    let isFirst = true
    Object.defineProperty(request, 'url', {
      get() {
        const now = isFirst ? url : 'https://other.example.com/'
        isFirst = false
        return now
      },
    })
    await session.fetch(request)
    expect(cancelled).toEqual(['clone-1'])
    expect(calls).toMatchObject([{ authorization: null }])
  })

  it('is sent, and another is kept for the next', async () => {
    const { session, signIn, calls } = setUp([refusal(), ok()])
    await signIn()
    const { cancelled, request } = kept()
    expect((await session.fetch(request)).status).toBe(200)
    expect(calls.map(({ input }) => (input as { name: string }).name)).toEqual(['original', 'clone-1'])
    expect(cancelled).toEqual(['clone-2'])
  })
})
