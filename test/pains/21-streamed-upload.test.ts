import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { access, listen, onlyToken, open } from '../fetch/server.ts'

// On undici 7.18, 7.24 and its latest, on Node 20 to 26, Bun and Deno: npm run test:runtimes.
const streams: [what: string, make: () => BodyInit][] = [
  ['a ReadableStream', () => new Blob(['streamed']).stream()],
  ['a Node Readable', () => Readable.from(['streamed']) as unknown as BodyInit],
]

describe('pain 21: an upload that can be streamed once', () => {
  it.each(streams)('waits for a new token while the old one is about to expire, for %s', async (_, make) => {
    const api = await listen(onlyToken(2))
    const { session } = await open(api.origin, { expiresIn: 60, agoMs: 55_000 })
    const response = await session.fetch(api.origin, { method: 'POST', body: make() })
    expect(response.status).toBe(200)
    expect(api.seen).toMatchObject([{ body: 'streamed', headers: { authorization: `Bearer ${access(2)}` } }])
  })

  it.each(streams)('has a readable 401, no opaque “fetch failed”, for %s', async (_, make) => {
    const api = await listen(onlyToken(2))
    const { session, renewals } = await open(api.origin)
    const response = await session.fetch(api.origin, { method: 'POST', body: make() })
    expect([response.status, await response.json()]).toEqual([401, { detail: 'no' }])
    expect(api.seen).toHaveLength(1)
    expect((await session.fetch(api.origin)).status).toBe(200)
    expect(renewals).toHaveLength(1)
  })
})
