import { describe, expect, it } from 'vitest'
import { access, listen, onlyToken, open } from './server.ts'

const freeze = <T>(value: T): T => {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
  for (const each of Object.values(value)) freeze(each)
  return Object.freeze(value)
}

describe('what the caller gave is not changed', () => {
  it.each([
    ['an object', () => freeze({ 'X-Own': '1', 'x-other': '2' })],
    ['an array', () => freeze([['X-Own', '1'] as [string, string], ['x-other', '2'] as [string, string]])],
    ['a Headers', () => new Headers({ 'X-Own': '1', 'x-other': '2' })],
    ['a Map', () => new Map([['X-Own', '1']]) as unknown as Record<string, string>],
  ])('a frozen init with %s as headers works', async (_, make) => {
    const api = await listen(onlyToken(2))
    const { session } = await open(api.origin)
    const headers = make()
    const init = Object.freeze({ method: 'POST', body: 'body', headers })
    expect((await session.fetch(`${api.origin}/`, init)).status).toBe(200)
    expect(api.seen.map(({ headers, body }) => [headers['x-own'], headers.authorization, body])).toEqual([
      ['1', `Bearer ${access(1)}`, 'body'],
      ['1', `Bearer ${access(2)}`, 'body'],
    ])
    expect(init).toEqual({ method: 'POST', body: 'body', headers: make() })
  })

  it('a Request that was given keeps its headers, and its body is used up in the same turn, as fetch does', async () => {
    const api = await listen(onlyToken(2))
    const { session } = await open(api.origin, { expiresIn: 60 }) // expired: it has to wait
    const request = new Request(`${api.origin}/`, { method: 'POST', body: 'body', headers: { 'X-Own': '1' } })
    const answer = session.fetch(request)
    expect(request.bodyUsed).toBe(true)
    expect([...request.headers.keys()]).toEqual(['content-type', 'x-own'])
    await expect(session.fetch(request)).rejects.toBeInstanceOf(TypeError) // as the platform says it
    expect((await answer).status).toBe(200)
    expect(api.seen.map(({ body }) => body)).toEqual(['body'])
  })

  it('what the caller does to its init and headers while the call waits does not show', async () => {
    const api = await listen()
    const { session } = await open(api.origin, { expiresIn: 60 })
    const headers = new Headers({ 'X-Own': 'before' })
    const init = { method: 'POST', body: 'before', headers }
    const answer = session.fetch(`${api.origin}/`, init)
    headers.set('X-Own', 'after')
    init.body = 'after'
    init.method = 'PUT'
    await answer
    expect(api.seen).toMatchObject([{ method: 'POST', body: 'before', headers: { 'x-own': 'before' } }])
  })
})

describe('init may be', () => {
  it('an instance of a class, with getters', async () => {
    const api = await listen(onlyToken(2))
    const { session } = await open(api.origin)
    class Init {
      get method() {
        return 'POST'
      }
      get body() {
        return 'from a getter'
      }
      headers = { 'X-Own': '1' }
    }
    await session.fetch(`${api.origin}/`, new Init())
    const post = { method: 'POST', body: 'from a getter' }
    expect(api.seen).toMatchObject([post, post])
  })

  it('a Request', async () => {
    const api = await listen(onlyToken(2))
    const { session } = await open(api.origin)
    const init = new Request('http://elsewhere.example/', { method: 'PUT', headers: { 'X-Own': '1' } })
    await session.fetch(`${api.origin}/`, init)
    const put = { method: 'PUT', headers: { 'x-own': '1' } }
    expect(api.seen).toMatchObject([put, put])
  })

  it.each([null, undefined])('%s', async init => {
    const api = await listen(onlyToken(2))
    const { session } = await open(api.origin)
    expect((await session.fetch(`${api.origin}/`, init as undefined)).status).toBe(200)
  })
})

describe('extras of the platform go along each time', () => {
  it.each(['url + init', 'Request + init'])('undici’s dispatcher, by %s', async way => {
    const api = await listen(onlyToken(2))
    const dispatched: unknown[] = []
    const global = Reflect.get(globalThis, Symbol.for('undici.globalDispatcher.1')) as {
      dispatch(...args: unknown[]): boolean
    }
    const dispatcher = {
      dispatch(options: { headers: unknown }, handler: unknown) {
        dispatched.push(options)
        return global.dispatch(options, handler)
      },
    }
    // Without a first fetch the global dispatcher is not there yet.
    const { session } = await open(api.origin)
    await fetch(api.origin)
    const input = way === 'url + init' ? `${api.origin}/` : new Request(`${api.origin}/`, { method: 'POST', body: 'a' })
    expect((await session.fetch(input, { dispatcher } as RequestInit)).status).toBe(200)
    expect(dispatched).toHaveLength(2)
  })
})

describe('an abort', () => {
  it('before the call: the platform’s own rejection, and nothing is sent or renewed', async () => {
    const api = await listen()
    const { session, renewals } = await open(api.origin, { expiresIn: 60 })
    const reason = new Error('own reason')
    await expect(session.fetch(`${api.origin}/`, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    await expect(session.fetch(`${api.origin}/`, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    })
    await expect(session.fetch(new Request(`${api.origin}/`, { signal: AbortSignal.abort(reason) }))).rejects.toBe(
      reason,
    )
    expect([api.seen, renewals]).toEqual([[], []])
  })

  it.each(['init', 'Request'])('while the call waits for a renewal, by %s: ends that wait alone', async way => {
    const api = await listen()
    let answer: (tokens: { access_token: string }) => void = () => undefined
    const { session } = await open(api.origin, {
      expiresIn: 60,
      grant: () =>
        new Promise<{ access_token: string }>(resolve => {
          answer = resolve
        }),
    })
    const url = `${api.origin}/`
    const abort = new AbortController()
    const leaving =
      way === 'init'
        ? session.fetch(url, { signal: abort.signal })
        : session.fetch(new Request(url, { signal: abort.signal, method: 'POST', body: 'a' }))
    const staying = session.fetch(url)
    leaving.catch(() => undefined)
    for (let turn = 0; turn < 20; turn++) await Promise.resolve()
    const reason = new Error('gone')
    abort.abort(reason)
    await expect(leaving).rejects.toBe(reason)
    answer({ access_token: access(2) })
    expect((await staying).status).toBe(200)
    expect(api.seen).toMatchObject([{ headers: { authorization: `Bearer ${access(2)}` } }])
  })

  it('while the answer is on its way: as the platform rejects it', async () => {
    let arrive: () => void = () => undefined
    const arrived = new Promise<void>(resolve => {
      arrive = resolve
    })
    const api = await listen(() => {
      arrive()
      return new Promise(() => undefined)
    })
    const { session } = await open(api.origin)
    const abort = new AbortController()
    const answer = session.fetch(`${api.origin}/`, { signal: abort.signal })
    await arrived
    abort.abort()
    await expect(answer).rejects.toMatchObject({ name: 'AbortError' })
  })

  it('of a body that is being read still works after a second send', async () => {
    const api = await listen((seen, response) => {
      if (seen.headers.authorization !== `Bearer ${access(2)}`) return response.writeHead(401).end()
      response.writeHead(200).write('first')
      return new Promise(() => undefined)
    })
    const { session } = await open(api.origin)
    const abort = new AbortController()
    const response = await session.fetch(new Request(`${api.origin}/`, { signal: abort.signal }))
    abort.abort()
    await expect(response.text()).rejects.toMatchObject({ name: 'AbortError' })
  })
})

describe('what the platform refuses, the platform refuses', () => {
  it.each([
    ['a URL that is none', 'http://'],
    ['a GET with a body', undefined, { body: 'a' }],
    ['a method with a space', undefined, { method: 'a b' }],
    ['a header with a line break', undefined, { headers: { a: 'b\r\nc' } }],
    ['a mode that is none', undefined, { mode: 'own' as RequestMode }],
    ['a signal that is none', undefined, { signal: {} as AbortSignal }],
  ])('%s', async (_, url, init?: RequestInit) => {
    const api = await listen()
    const { session } = await open(api.origin)
    const bare = await fetch(url ?? api.origin, init).catch(error => error)
    const ours = await session.fetch(url ?? api.origin, init).catch(error => error)
    expect([ours.constructor, ours.message]).toEqual([bare.constructor, bare.message])
    expect(bare).toBeInstanceOf(TypeError)
  })
})

describe('the answer is the platform’s own', () => {
  it('with its url, redirected and type', async () => {
    const api = await listen(({ path }, response) => path === '/from' && response.writeHead(302, { Location: '/to' }))
    const { session } = await open(api.origin)
    const bare = await fetch(`${api.origin}/from`)
    const ours = await session.fetch(`${api.origin}/from`)
    const facts = ({ url, redirected, type, status }: Response) => ({ url, redirected, type, status })
    expect(facts(ours)).toEqual(facts(bare))
    expect(ours).toBeInstanceOf(Response)
  })

  it('and a 401 that stays one is unread', async () => {
    const api = await listen(onlyToken(99))
    const { session } = await open(api.origin)
    const response = await session.fetch(api.origin)
    expect(response.bodyUsed).toBe(false)
    expect([response.status, await response.json()]).toEqual([401, { detail: 'no' }])
  })

  it('and works detached from its session, as a fetch that is passed on', async () => {
    const api = await listen()
    const { fetch } = (await open(api.origin)).session
    expect((await fetch(new URL(api.origin))).status).toBe(200)
  })
})
