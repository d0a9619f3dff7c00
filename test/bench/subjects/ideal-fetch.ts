interface Pair {
  access_token: string
  refresh_token: string
  expires_in: number
}
type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/** What a careful developer writes by hand in 25 lines: header literal, shared promise, stale check, two more tries. */
export function idealFetch(
  fetch: Fetch,
  pair: Pair,
  obtainedAtMs: number,
  ask: (refresh: string) => Promise<Pair>,
): Fetch {
  let { access_token: token, refresh_token: refreshToken } = pair
  let expiresAtMs = obtainedAtMs + pair.expires_in * 1000
  let renewing: Promise<void> | undefined
  async function renew(triesLeft = 2): Promise<void> {
    try {
      const next = await ask(refreshToken)
      expiresAtMs = Date.now() + next.expires_in * 1000
      ;({ access_token: token, refresh_token: refreshToken } = next)
    } catch (error) {
      if (!triesLeft) throw error
      await new Promise(resolve => setTimeout(resolve, 300 - 100 * triesLeft))
      return renew(triesLeft - 1)
    }
  }
  const renewOnce = () => {
    renewing ??= renew().finally(() => {
      renewing = undefined
    })
    return renewing
  }
  return async (input, init) => {
    if (renewing || Date.now() >= expiresAtMs) await renewOnce()
    const sent = token
    const response = await send(fetch, input, init, sent)
    if (response.status !== 401) return response
    if (sent === token) await renewOnce()
    return send(fetch, input, init, token)
  }
}

function send(fetch: Fetch, input: string | URL | Request, init: RequestInit | undefined, token: string) {
  if (typeof input === 'string' || input instanceof URL)
    return fetch(input, { ...init, headers: { ...init?.headers, Authorization: `Bearer ${token}` } })
  const request = new Request(input, init)
  request.headers.set('Authorization', `Bearer ${token}`)
  return fetch(request)
}
