import { describe, expect, it } from 'vitest'
import { apiKey, createSession, header, memoryStorage } from '../../src/index.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

const url = 'https://api.example.com/items'
const resources = 'https://api.example.com'

/** An API that knows which keys are valid, and remembers what it was sent. */
function createApi(...valid: string[]) {
  const seen: (string | null)[] = []
  const api = {
    seen,
    valid: new Set(valid),
    fetch: (async (_input: unknown, init?: RequestInit) => {
      const key = new Headers(init?.headers).get('x-api-key')
      seen.push(key)
      return new Response('', { status: key !== null && api.valid.has(key) ? 200 : 401 })
    }) as typeof fetch,
  }
  return api
}

const [one, two, three] = [secret('key-1'), secret('key-2'), secret('key-3')] as const

describe('apiKey', () => {
  it('signs in by itself and sends the first key', async () => {
    const api = createApi(one)
    const session = createSession({ resources, grant: apiKey({ keys: one }), fetch: api.fetch })
    expect((await session.fetch(url)).status).toBe(200)
    expect(api.seen).toEqual([one])
  })

  it('tries the next key once on a 401, at the first call too, and keeps the one that works', async () => {
    const api = createApi(two)
    const session = createSession({ resources, grant: apiKey({ keys: [one, two] }), fetch: api.fetch })
    expect((await session.fetch(url)).status).toBe(200)
    expect((await session.fetch(url)).status).toBe(200)
    expect(api.seen).toEqual([one, two, two])
  })

  it('lets concurrent calls agree on the next key', async () => {
    const api = createApi(two)
    const session = createSession({ resources, grant: apiKey({ keys: [one, two, three] }), fetch: api.fetch })
    const answers = await Promise.all(Array.from({ length: 10 }, () => session.fetch(url)))
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200))
    expect(api.seen.filter(key => key === three)).toEqual([])
  })

  it('gives the 401 as the answer once all were tried, and hammers nothing for minIntervalMs', async () => {
    const clock = createClock()
    const api = createApi()
    const session = createSession({ resources, grant: apiKey({ keys: [one, two] }), fetch: api.fetch, clock })
    expect((await session.fetch(url)).status).toBe(401)
    expect(api.seen).toEqual([one, two])
    for (let call = 0; call < 5; call++) expect((await session.fetch(url)).status).toBe(401)
    expect(api.seen.slice(2)).toEqual(Array(5).fill(two))
    clock.advance(5001)
    api.valid.add(one)
    expect((await session.fetch(url)).status).toBe(200)
    expect(api.seen.at(-1)).toBe(one)
  })

  it('asks a function at first use and once per wave of 401s', async () => {
    const clock = createClock()
    const api = createApi(one)
    let asked = 0
    let keys = [one]
    const grant = apiKey({
      keys: async () => {
        asked++
        return keys
      },
    })
    const session = createSession({ resources, grant, fetch: api.fetch, clock })
    await session.fetch(url)
    await session.fetch(url)
    expect(asked).toBe(1)
    keys = [two]
    api.valid = new Set([two])
    const answers = await Promise.all(Array.from({ length: 5 }, () => session.fetch(url)))
    expect(answers.map(({ status }) => status)).toEqual(Array(5).fill(200))
    expect(asked).toBe(2)
  })

  it.each([1, 10])(
    'gives the 401 as the answer where a function knows no other key, to %d calls at once',
    async calls => {
      const clock = createClock()
      const api = createApi()
      let asked = 0
      const grant = apiKey({
        keys: () => {
          asked++
          return one
        },
      })
      const session = createSession({ resources, grant, fetch: api.fetch, clock })
      const answers = await Promise.all(Array.from({ length: calls }, () => session.fetch(url)))
      expect(answers.map(({ status }) => status)).toEqual(Array(calls).fill(401))
      expect(asked).toBe(2)
      const before = api.seen.length
      expect(before).toBeLessThanOrEqual(2 * calls)
      for (let call = 0; call < 5; call++) expect((await session.fetch(url)).status).toBe(401)
      expect([asked, api.seen.length - before]).toEqual([2, 5])
      clock.advance(5001)
      api.valid.add(one)
      expect((await session.fetch(url)).status).toBe(200)
    },
  )

  it('goes on to the third key with the next call, since a call is sent twice at most', async () => {
    const api = createApi(three)
    const session = createSession({ resources, grant: apiKey({ keys: [one, two, three] }), fetch: api.fetch })
    expect((await session.fetch(url)).status).toBe(401)
    expect((await session.fetch(url)).status).toBe(200)
    expect((await session.fetch(url)).status).toBe(200)
    expect(api.seen).toEqual([one, two, two, three, three])
  })

  it('keeps the key that works over a restart, and is not bound to one that is in no list any more', async () => {
    const api = createApi(two)
    const storage = memoryStorage()
    const start = (...keys: string[]) =>
      createSession({ resources, grant: apiKey({ keys }), fetch: api.fetch, storage })
    using before = start(one, two)
    expect((await before.fetch(url)).status).toBe(200)
    using after = start(one, two)
    expect((await after.fetch(url)).status).toBe(200)
    expect(api.seen).toEqual([one, two, two])
    api.valid = new Set([three])
    using later = start(three)
    expect((await later.fetch(url)).status).toBe(200)
    expect(api.seen.slice(3)).toEqual([two, three])
  })

  it('leaves a key that the caller set, and its 401, to the caller', async () => {
    const api = createApi(two)
    const session = createSession({ resources, grant: apiKey({ keys: [one, two] }), fetch: api.fetch })
    expect((await session.fetch(url, { headers: { 'X-API-Key': three } })).status).toBe(401)
    expect(api.seen).toEqual([three])
  })

  it('says what to write instead of a query parameter or no key', () => {
    expect(() => apiKey({ keys: one, header: '?key=' })).toThrow(/logs/)
    for (const place of ['query', 'param', 'in']) {
      expect(() => apiKey({ keys: one, [place]: 'key' })).toThrow(new RegExp(`no ${place}\\..*logs`))
    }
    expect(() => apiKey({ keys: [] })).toThrow(/keys: 'the-key'/)
    expect(() => apiKey({ keys: [one, ''] })).toThrow(/keys: 'the-key'/)
    expect(() => header('a b')).toThrow(/x-api-key/)
  })

  it('takes a key as a file holds it, with its line break, and says which one no header can carry', async () => {
    const api = createApi(one)
    const session = createSession({ resources, grant: apiKey({ keys: `${one}\n` }), fetch: api.fetch })
    expect((await session.fetch(url)).status).toBe(200)
    for (const odd of [`${one}\n${two}`, `${one} ${two}`, 'schlüssel', 'a\u0000b']) {
      const refusal = { code: 'misconfigured', message: expect.stringContaining('Key 2 of 2') }
      expect(() => apiKey({ keys: [one, odd] })).toThrow(expect.objectContaining(refusal))
    }
  })
})

describe('a header of its own and redirects', () => {
  const world = (hops: Record<string, string>) => {
    const seen: [url: string, key: string | null, redirect: string | undefined][] = []
    const fetch = (async (input: RequestInfo | URL, init?: RequestInit) => {
      const at = String(input)
      seen.push([at, new Headers(init?.headers).get('x-api-key'), init?.redirect])
      const location = hops[at]
      return location ? new Response(null, { status: 307, headers: { location } }) : new Response('ok')
    }) as typeof globalThis.fetch
    return { seen, session: createSession({ resources, grant: apiKey({ keys: one }), fetch }) }
  }

  it('follows inside the resources with the key, and leaves them without it', async () => {
    const { seen, session } = world({ [url]: '/moved', [`${resources}/moved`]: 'https://elsewhere.test/' })
    expect((await session.fetch(url)).status).toBe(200)
    expect(seen).toEqual([
      [url, one, 'manual'],
      [`${resources}/moved`, one, 'manual'],
      ['https://elsewhere.test/', null, 'manual'],
    ])
  })

  it('gives up after 20 hops, and says so', async () => {
    const { session } = world({ [url]: url })
    await expect(session.fetch(url)).rejects.toMatchObject({ code: 'redirect_refused' })
  })

  it('leaves a redirect mode of the caller alone', async () => {
    const { seen, session } = world({ [url]: '/moved' })
    expect((await session.fetch(url, { redirect: 'manual' })).status).toBe(307)
    expect(seen).toHaveLength(1)
  })
})
