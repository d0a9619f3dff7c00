import { createSession, type SessionOptions, type TokenStorage } from '../../src/index.ts'
import { secret } from '../support/no-leaks.ts'

/** What stands in the storage under this session's key. */
export const storageKey = 'latchkey:api.example.com'

/** A server that knows the pair of its last answer only, and an app that talks to it: `start` is a new process. */
export function createApp(store: () => TokenStorage, more: Partial<SessionOptions<string>> = {}) {
  let generation = 0
  const server = { renewals: 0, requests: 0, isDown: false }
  const answer = () => {
    generation++
    return {
      access_token: secret(`access-${generation}`),
      refresh_token: secret(`refresh-${generation}`),
      expires_in: 3600,
    }
  }

  async function serve(_url: unknown, init?: { headers?: unknown }): Promise<Response> {
    server.requests++
    const { authorization } = Object.fromEntries(new Headers(init?.headers as Record<string, string>))
    const isKnown = authorization === `Bearer ${secret(`access-${generation}`)}`
    return new Response(isKnown ? 'ok' : 'no', {
      status: isKnown ? 200 : 401,
      ...(!isKnown && { headers: { 'www-authenticate': 'Bearer error="invalid_token"' } }),
    })
  }

  function start() {
    return createSession<string>({
      resources: 'https://api.example.com',
      storage: store(),
      fetch: serve as typeof fetch,
      renewal: { minIntervalMs: 0 },
      grant: {
        signIn: async () => answer(),
        async renew(tokens) {
          server.renewals++
          if (server.isDown) throw new TypeError('Network request failed')
          if (tokens.refreshToken !== secret(`refresh-${generation}`)) throw new Response(null, { status: 400 })
          return answer()
        },
      },
      ...more,
    })
  }

  /** The server takes the access token back. */
  const expire = () => void generation++
  return { start, server, expire }
}

export const url = 'https://api.example.com/things'
