import { createSession } from 'latchkey'
import { dpop } from 'latchkey/oauth'
import { describe, expect, test } from 'vitest'
import { secret } from '../support/no-leaks.ts'

const api = 'https://api.example.com'

/** A resource and a token endpoint that want DPoP nonces. */
function createServers() {
  const sent: { url: string; nonce: string | undefined }[] = []
  let wanted: string | undefined
  let issued = 0
  const nonceOf = (init: RequestInit | undefined) => {
    const proof = new Headers(init?.headers).get('dpop') ?? ''
    return JSON.parse(atob((proof.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/'))).nonce as
      | string
      | undefined
  }
  const servers = {
    sent,
    renewals: 0,
    alwaysChallenges: false,
    rotate() {
      wanted = `nonce-${++issued}`
    },
    fetch: (async (input, init) => {
      const nonce = nonceOf(init)
      sent.push({ url: String(input), nonce })
      if (servers.alwaysChallenges) servers.rotate()
      const headers: Record<string, string> = wanted ? { 'DPoP-Nonce': wanted } : {}
      if ((wanted && nonce !== wanted) || servers.alwaysChallenges) {
        return new Response(null, {
          status: 401,
          headers: { ...headers, 'WWW-Authenticate': 'DPoP error="use_dpop_nonce"' },
        })
      }
      return new Response('ok', { headers })
    }) as typeof fetch,
  }
  return servers
}

async function createBound(servers: ReturnType<typeof createServers>) {
  const session = createSession({
    resources: api,
    fetch: servers.fetch,
    attach: dpop(),
    renewal: { minIntervalMs: 0 },
    grant: async () => {
      servers.renewals++
      return { access_token: secret('renewed'), token_type: 'DPoP', expires_in: 3600 }
    },
  })
  await session.adopt({
    access_token: secret('first'),
    token_type: 'DPoP',
    expires_in: 3600,
    refresh_token: secret('refresh'),
  })
  return session
}

describe('pain 47: DPoP nonce challenges', () => {
  test('a challenge is one more request with the nonce, and no renewal', async () => {
    const servers = createServers()
    const session = await createBound(servers)
    servers.rotate()
    expect((await session.fetch(`${api}/a`)).status).toBe(200)
    expect(servers.sent.map(({ nonce }) => nonce)).toEqual([undefined, 'nonce-1'])
    expect(servers.renewals).toBe(0)
  })

  test('the nonce is kept for the origin, and a 200 brings the next one', async () => {
    const servers = createServers()
    const session = await createBound(servers)
    servers.rotate()
    await session.fetch(`${api}/a`)
    await session.fetch(`${api}/b`)
    expect(servers.sent.map(({ nonce }) => nonce)).toEqual([undefined, 'nonce-1', 'nonce-1'])
  })

  test('a nonce of one origin is never sent to another', async () => {
    const servers = createServers()
    const other = 'https://files.example.com'
    const session = createSession({
      resources: [api, other],
      fetch: servers.fetch,
      attach: dpop(),
      grant: async () => ({ access_token: secret('renewed') }),
    })
    await session.adopt({ access_token: secret('first'), token_type: 'DPoP', expires_in: 3600 })
    servers.rotate()
    await session.fetch(`${api}/a`)
    await session.fetch(`${other}/b`)
    expect(servers.sent.map(({ nonce }) => nonce)).toEqual([undefined, 'nonce-1', undefined, 'nonce-1'])
  })

  test('forty requests at once under a new nonce cost one retry each and no renewal', async () => {
    const servers = createServers()
    const session = await createBound(servers)
    servers.rotate()
    const answers = await Promise.all(Array.from({ length: 40 }, (_, index) => session.fetch(`${api}/${index}`)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(servers.sent.length).toBeLessThanOrEqual(80)
    expect(servers.renewals).toBe(0)
  })
})
