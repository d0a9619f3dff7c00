/** A token endpoint and an API without a network: what the clients of one measurement talk to. */
export interface StubServer {
  readonly origin: string
  readonly tokenEndpoint: string
  /** What a sign-in now would bring. */
  signIn(): Tokens
  readonly fetch: typeof fetch
  /** The access tokens that were given out so far end now, and nobody is told. */
  revoke(): void
  readonly counts: Counts
}

export interface Tokens {
  access_token: string
  token_type: 'Bearer'
  expires_in: number
  refresh_token: string
  id_token: string
  scope: string
  user: { id: string }
}

export interface Counts {
  /** Pairs that the token endpoint gave out. */
  renewals: number
  /** Times that it was asked. */
  tokenCalls: number
  /** Requests that reached the API. */
  sends: number
  /** Those that it refused. */
  refusals: number
}

export interface StubOptions {
  readonly lifetimeSeconds?: number
  /** How long the token endpoint takes. */
  readonly tokenMs?: number
  /** How long the API takes: 0 answers in the same turn. */
  readonly answerMs?: number
  /** How long a 401 takes, the nth of them. */
  readonly refusalMs?: (nth: number) => number
  /** What becomes of the first calls of the token endpoint. */
  readonly faults?: readonly ('lost' | 503)[]
  /** How long a spent refresh token still answers with its successor. */
  readonly reuseMs?: number
  /** Told at each answer of the token endpoint and at every so many sends. */
  readonly watch?: () => void
  readonly watchEvery?: number
}

export const apiOrigin = 'https://api.example.com'
export const authOrigin = 'https://auth.example.com'
export const clientId = 'bench'

const json = (body: unknown, status = 200) =>
  new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } })
const later = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))
const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
const signature = 'x'.repeat(342)

/** Reads as a JWT; some peers look inside. */
export function jwt(claims: object): string {
  return `${encode({ alg: 'RS256', kid: '1' })}.${encode(claims)}.${signature}`
}

export function createStubServer(options: StubOptions = {}): StubServer {
  const {
    lifetimeSeconds = 3600,
    tokenMs = 20,
    answerMs = 0,
    refusalMs,
    watch,
    watchEvery = Number.POSITIVE_INFINITY,
  } = options
  const faults = [...(options.faults ?? [])]
  const counts: Counts = { renewals: 0, tokenCalls: 0, sends: 0, refusals: 0 }
  let issued = 0
  let accepted = ''
  let expiresAtMs = 0
  let refreshToken = ''
  let spent: { refreshToken: string; atMs: number; successor: Tokens } | undefined

  function issue(): Tokens {
    issued++
    const now = Math.floor(Date.now() / 1000)
    const life = { iat: now, exp: now + lifetimeSeconds }
    const access_token = jwt({ sub: 'user', scope: 'api', jti: issued, ...life })
    accepted = `Bearer ${access_token}`
    expiresAtMs = Date.now() + lifetimeSeconds * 1000
    refreshToken = `refresh-${issued}`
    return {
      access_token,
      token_type: 'Bearer',
      expires_in: lifetimeSeconds,
      refresh_token: refreshToken,
      id_token: jwt({ iss: `${authOrigin}/`, aud: clientId, sub: 'user', ...life }),
      scope: 'openid profile email offline_access',
      user: { id: 'user' },
    }
  }

  async function renew(given: string): Promise<Response> {
    counts.tokenCalls++
    const fault = faults.shift()
    await later(tokenMs)
    watch?.()
    if (fault === 503) return new Response('down', { status: 503 })
    if (spent?.refreshToken === given && Date.now() - spent.atMs <= (options.reuseMs ?? 0)) return json(spent.successor)
    if (given !== refreshToken) return json({ error: 'invalid_grant' }, 400)
    counts.renewals++
    const tokens = issue()
    spent = { refreshToken: given, atMs: Date.now(), successor: tokens }
    // The pair was rotated and the answer never arrived.
    if (fault === 'lost') throw new TypeError('fetch failed')
    return json(tokens)
  }

  function answer(authorization: string | null | undefined): Promise<Response> {
    counts.sends++
    if (counts.sends % watchEvery === 0) watch?.()
    if (authorization === accepted && Date.now() < expiresAtMs) {
      const response = new Response('ok')
      return answerMs ? later(answerMs).then(() => response) : Promise.resolve(response)
    }
    const nth = counts.refusals++
    const response = new Response('no', {
      status: 401,
      headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
    })
    return refusalMs || answerMs ? later(refusalMs?.(nth) ?? answerMs).then(() => response) : Promise.resolve(response)
  }

  return {
    origin: apiOrigin,
    tokenEndpoint: `${authOrigin}/token`,
    signIn: issue,
    revoke() {
      accepted = ''
    },
    counts,
    fetch: (async (input: string | URL | Request, init?: RequestInit) => {
      const url = typeof input === 'string' ? input : input instanceof URL ? input.href : input.url
      if (url.startsWith(authOrigin)) return renew(await refreshTokenIn(input, init))
      return answer(authorizationOf(input, init))
    }) as typeof fetch,
  }
}

/** As a server would find it, however the client handed it over. */
function authorizationOf(input: string | URL | Request, init: RequestInit | undefined): string | null | undefined {
  const headers = init?.headers ?? (typeof input === 'object' && 'headers' in input ? input.headers : undefined)
  if (!headers) return undefined
  if (typeof (headers as Headers).get === 'function') return (headers as Headers).get('authorization')
  if (Array.isArray(headers)) return headers.find(([name]) => name?.toLowerCase() === 'authorization')?.[1]
  const own = headers as Record<string, string>
  return own.Authorization ?? own.authorization
}

async function refreshTokenIn(input: string | URL | Request, init: RequestInit | undefined): Promise<string> {
  const body = typeof input === 'object' && 'text' in input ? await input.text() : await new Response(init?.body).text()
  return body.startsWith('{') ? JSON.parse(body).refresh_token : (new URLSearchParams(body).get('refresh_token') ?? '')
}
