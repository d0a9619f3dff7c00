import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { access, listen, onlyToken, open } from './server.ts'

describe('a request in the mode no-cors, which carries no credentials of ours', () => {
  it.each(['init', 'Request'])('goes out as it is, by %s, and its 401 renews nothing', async way => {
    const api = await listen(onlyToken(2))
    const { session, renewals } = await open(api.origin)
    const init = { mode: 'no-cors' } as const
    const call = (): Parameters<typeof fetch> => (way === 'init' ? [api.origin, init] : [new Request(api.origin, init)])
    const facts = ({ status, type }: Response) => [status, type]
    const bare = facts(await fetch(...call()))
    expect(facts(await session.fetch(...call()))).toEqual(bare)
    expect(api.seen.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined])
    expect(renewals).toEqual([])
  })
})

describe('a 401 that is not the answer', () => {
  async function serve(refuse: RequestListener) {
    const sockets = new Set<Socket>()
    const server = createServer((request, response) => {
      sockets.add(request.socket)
      if (request.headers.authorization === `Bearer ${access(2)}`) response.end('ok')
      else refuse(request, response)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => {
      server.close()
      server.closeAllConnections()
    })
    return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets }
  }

  it('is read where it is small: its connection lives on', async () => {
    const body = 'x'.repeat(16_000)
    const { origin, sockets } = await serve((_, response) => {
      response.writeHead(401, { 'Content-Length': body.length }).write(body.slice(1))
      setTimeout(() => response.end('x'), 20) // the second send is under way by then
    })
    const { session } = await open(origin)
    for (let call = 0; call < 5; call++) expect(await (await session.fetch(origin)).text()).toBe('ok')
    await new Promise(resolve => setTimeout(resolve, 50))
    expect([...sockets].filter(({ destroyed }) => destroyed)).toEqual([])
  })

  it.each([
    ['that says its length', { 'Content-Length': '100000000' }],
    ['that does not', {}],
  ])('is let go where it is big, %s: nobody waits for it', async (_, headers) => {
    let cut: () => void = () => undefined
    const wasCut = new Promise<void>(resolve => {
      cut = resolve
    })
    const { origin } = await serve((_, response) => {
      response.writeHead(401, headers).write('x'.repeat(100_000)) // and never the rest
      response.on('close', cut)
    })
    const { session } = await open(origin)
    expect(await (await session.fetch(origin)).text()).toBe('ok')
    await wasCut
  })
})
