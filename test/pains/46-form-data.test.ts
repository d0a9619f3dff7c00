import { describe, expect, it } from 'vitest'
import { access, listen, onlyToken, open } from '../fetch/server.ts'

describe('pain 46: a FormData that is sent again', () => {
  it('has the boundary of its own send in its header, and the same parts', async () => {
    const api = await listen(onlyToken(2))
    const { session } = await open(api.origin)
    const body = new FormData()
    body.append('text', 'one\r\ntwo')
    body.append('file', new File([new Uint8Array([0, 13, 10, 255])], 'ä "b".bin', { type: 'image/png' }))
    body.append('file', new File(['second'], 'c.txt'))
    expect((await session.fetch(api.origin, { method: 'POST', body })).status).toBe(200)
    const parts = api.seen.map(({ body, headers }) => {
      const [, boundary = ''] = /^multipart\/form-data; boundary=(\S+)$/.exec(String(headers['content-type'])) ?? []
      expect(body.startsWith(`--${boundary}\r\n`) && body.trimEnd().endsWith(`--${boundary}--`)).toBe(true)
      return body.split(`--${boundary}`)
    })
    expect(parts).toHaveLength(2)
    expect(parts[1]).toEqual(parts[0])
    expect(parts[0]).toHaveLength(5) // before, three parts, after
  })

  it('of React Native is handed to the platform as it is, with no Content-Type set, both times', async () => {
    const given: RequestInit[] = []
    const native = (async (_: string, init: RequestInit) => {
      given.push(init)
      return new Response('', { status: given.length === 1 ? 401 : 200 })
    }) as typeof fetch
    const { session } = await open('https://api.example.com', { fetch: native })
    // React Native's own FormData: no iterator, parts that name a file.
    const body = { _parts: [['photo', { uri: 'file:///a.jpg', name: 'a.jpg', type: 'image/jpeg' }]] }
    await session.fetch('https://api.example.com/', { method: 'POST', body: body as unknown as BodyInit })
    expect(given.map(init => init.body)).toEqual([body, body])
    expect(given.every(init => init.body === (body as unknown))).toBe(true)
    expect(given.map(init => init.headers)).toEqual(
      [1, 2].map(number => ({ Authorization: `Bearer ${access(number)}` })),
    )
  })
})
