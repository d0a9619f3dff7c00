import { describe, expect, it } from 'vitest'
import { createSession, refreshTokenGrant } from '../../src/index.ts'
import { startServer } from '../demo/server-support.ts'

// A WebSocket, EventSource and XHR: test/clients.
describe('pain 42: a stream that reconnects', () => {
  it('asks for the token at each connect, over two rotations', async () => {
    const server = await startServer({ accessTokenTtlMs: 300_000, heartbeatMs: 20 })
    const { access_token, refresh_token, expires_in } = await server.signIn()
    const session = createSession({
      resources: server.origin,
      grant: refreshTokenGrant({ tokenEndpoint: `${server.origin}/token`, clientId: 'demo' }),
      renewal: { minIntervalMs: 0 },
    })
    await session.adopt({ access_token, refresh_token, expires_in })

    const used = new Set<string>()
    async function connect(lastEventId: string | undefined) {
      const headers = await session.authorizationHeaders(`${server.origin}/activity/stream`)
      used.add(String(headers.Authorization))
      const abort = new AbortController()
      const response = await fetch(`${server.origin}/activity/stream`, {
        headers: { ...headers, ...(lastEventId && { 'Last-Event-ID': lastEventId }) },
        signal: abort.signal,
      })
      expect(response.status).toBe(200)
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
      let text = ''
      return {
        async until(part: string) {
          while (!text.includes(part)) {
            const { value, done } = (await reader?.read()) ?? { done: true }
            if (done) throw new Error('the stream ended')
            text += value
          }
          return text
        },
        close: () => abort.abort(),
      }
    }

    for (let connection = 1; connection <= 3; connection++) {
      const stream = await connect(undefined)
      await stream.until(': connected')
      stream.close()
      if (connection < 3) {
        server.faults.rejectAccessTokensIssuedUntilNow()
        await session.renew()
      }
    }
    expect(used.size).toBe(3)
    expect(server.stats()).toMatchObject({ rotations: 2, reuses: 0 })
  })

  it('gets a token that lives as long as was asked for, one renewal for all who ask', async () => {
    const server = await startServer()
    const { access_token, refresh_token } = await server.signIn()
    const session = createSession({
      resources: server.origin,
      grant: refreshTokenGrant({ tokenEndpoint: `${server.origin}/token`, clientId: 'demo' }),
    })
    await session.adopt({ access_token, refresh_token, expires_in: 300 }, { obtainedAtMs: Date.now() - 270_000 })
    const ask = () => session.getAccessToken({ minValidityMs: 60_000 })
    const tokens = await Promise.all(Array.from({ length: 10 }, ask))
    expect(new Set(tokens).size).toBe(1)
    expect(tokens[0]).not.toBe(access_token)
    expect(await ask()).toBe(tokens[0])
    expect(server.stats()).toMatchObject({ rotations: 1 })
  })
})
