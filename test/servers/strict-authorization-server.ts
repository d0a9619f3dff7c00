import type { TokenResponse } from '../../src/index.ts'
import { secret } from '../support/no-leaks.ts'

/** A wall clock and a monotonic one that tests move by hand. */
export function createClock() {
  let now = 1_800_000_000_000
  let monotonic = 5000
  return {
    now: () => now,
    monotonic: () => monotonic,
    advance(ms: number) {
      now += ms
      monotonic += ms
    },
    /** The device slept, or somebody set the clock: only one of them moves. */
    advanceWall(ms: number) {
      now += ms
    },
  }
}

export const api = 'https://api.example.com'
export const issuer = 'https://login.example.com'
export const tokenEndpoint = `${issuer}/token`
export const refreshEndpoint = `${issuer}/token/refresh`
export const revocationEndpoint = `${issuer}/revoke`
export const user = { username: 'alice', password: secret('pass w@rd:%') }

export interface StrictServerOptions {
  readonly clock: { now(): number }
  readonly lifetimeSeconds?: number
  readonly client?: {
    readonly id: string
    readonly secret?: string
    readonly auth: 'none' | 'client_secret_basic' | 'client_secret_post'
  }
}

interface Family {
  isRevoked: boolean
  access: string
  refresh: string | undefined
  expiresAtMs: number
}

/**
 * An authorization server and an API in one function, as strict as they come: refresh tokens are used once, without any grace; the reuse of
 * one revokes the family; the API knows the newest access token only and says 401 in the bare way of many frameworks.
 */
export function createStrictServer({ clock, lifetimeSeconds = 300, client }: StrictServerOptions) {
  const families: Family[] = []
  const spent = new Map<string, Family>()
  const stats = { signIns: 0, renewals: 0, refusals: 0, reuses: 0, revocations: 0, apiCalls: 0, apiRefusals: 0 }
  const requests: { path: string; fields: Record<string, string>; headers: Headers }[] = []
  const faults: ((request: Request) => Response | Promise<Response>)[] = []
  let count = 0

  function issue(family: Family, hasRefresh: boolean): TokenResponse {
    const number = ++count
    family.access = secret(`access-${number}`)
    family.refresh = hasRefresh ? secret(`refresh-${number}`) : undefined
    family.expiresAtMs = clock.now() + lifetimeSeconds * 1000
    return {
      access_token: family.access,
      token_type: 'Bearer',
      expires_in: lifetimeSeconds,
      ...(family.refresh && { refresh_token: family.refresh }),
    }
  }

  function signIn(hasRefresh = true): TokenResponse {
    stats.signIns++
    const family: Family = { isRevoked: false, access: '', refresh: undefined, expiresAtMs: 0 }
    families.push(family)
    return issue(family, hasRefresh)
  }

  /** The rotation, and what RFC 9700 §4.14.2 asks for on a reuse. `undefined`: refused. */
  function rotate(refresh: string | undefined): TokenResponse | undefined {
    const reused = spent.get(refresh ?? '')
    if (reused) {
      stats.reuses++
      reused.isRevoked = true
    }
    const family = families.find(one => one.refresh !== undefined && one.refresh === refresh)
    if (!family || family.isRevoked) {
      stats.refusals++
      return undefined
    }
    stats.renewals++
    spent.set(refresh as string, family)
    return issue(family, true)
  }

  const problem = (status: number, error: string, headers: Record<string, string> = {}) =>
    Response.json({ error, error_description: 'Told to nobody.' }, { status, headers })

  /** RFC 6749 §2.3.1: exactly the one way that is agreed. */
  function isClient(headers: Headers, fields: Record<string, string>): boolean {
    if (!client) return true
    const [scheme, encoded] = (headers.get('authorization') ?? '').split(' ')
    if (client.auth === 'client_secret_basic') {
      const decode = (text = '') => new URLSearchParams(`_=${text}`).get('_')
      const [id, password] = scheme === 'Basic' ? atob(encoded ?? '').split(':') : []
      return decode(id) === client.id && decode(password) === client.secret && !('client_secret' in fields)
    }
    const isRight = fields.client_id === client.id && scheme === ''
    return isRight && fields.client_secret === (client.auth === 'client_secret_post' ? client.secret : undefined)
  }

  function token(fields: Record<string, string>, headers: Headers): Response {
    if (!isClient(headers, fields)) return problem(401, 'invalid_client', { 'WWW-Authenticate': 'Basic realm="login"' })
    if (!fields.grant_type) return problem(400, 'invalid_request')
    if (fields.scope === 'admin') return problem(400, 'invalid_scope')
    const answer = (tokens: TokenResponse | undefined) =>
      tokens ? Response.json(tokens, { headers: { 'Cache-Control': 'no-store' } }) : problem(400, 'invalid_grant')
    if (fields.grant_type === 'password') {
      const isRight = fields.username === user.username && fields.password === user.password
      return answer(isRight ? signIn() : undefined)
    }
    if (fields.grant_type === 'client_credentials') {
      return client?.auth === 'none' ? problem(400, 'unauthorized_client') : answer(signIn(false))
    }
    if (fields.grant_type === 'refresh_token') return answer(rotate(fields.refresh_token))
    return problem(400, 'unsupported_grant_type')
  }

  /** Many frameworks say no more than this. */
  const bare401 = () => Response.json({ detail: 'Could not validate credentials' }, { status: 401 })

  function callApi(headers: Headers): Response {
    stats.apiCalls++
    const carried = headers.get('authorization')
    const family = families.find(({ access }) => carried === `Bearer ${access}`)
    if (family && !family.isRevoked && clock.now() < family.expiresAtMs) return Response.json({ ok: true })
    stats.apiRefusals++
    return bare401()
  }

  async function handle(request: Request): Promise<Response> {
    const { origin, pathname } = new URL(request.url)
    if (origin === api) return callApi(request.headers)
    const text = await request.text()
    const isJson = request.headers.get('content-type')?.startsWith('application/json')
    const fields: Record<string, string> = isJson ? JSON.parse(text) : Object.fromEntries(new URLSearchParams(text))
    requests.push({ path: pathname, fields, headers: request.headers })
    const fault = faults.shift()
    if (fault) return fault(request)
    if (request.method !== 'POST') return problem(405, 'invalid_request')
    if (pathname === '/token') return token(fields, request.headers)
    if (pathname === '/token/refresh') {
      const tokens = rotate(fields.refresh_token)
      return tokens ? Response.json(tokens) : bare401()
    }
    if (pathname === '/revoke') {
      stats.revocations++
      for (const family of families) {
        if (family.refresh === fields.token || family.access === fields.token) family.isRevoked = true
      }
      return new Response(null, { status: 200 })
    }
    return new Response('Not found', { status: 404 })
  }

  return {
    stats,
    /** What the authorization server was sent. */
    requests,
    handle,
    fetch: ((input: RequestInfo | URL, init?: RequestInit) => handle(new Request(input, init))) as typeof fetch,
    /** Tokens of a sign-in that went another way. */
    signIn,
    /** As `grant.renew` of a custom grant: undefined is refused. */
    rotate,
    /** The next request to the authorization server is answered by this instead. */
    failNext(...next: typeof faults) {
      faults.push(...next)
    },
    /** What was prepared to fail and was not asked for yet does not fail. */
    heal() {
      faults.length = 0
    },
    /** Ends every access token, as a key rotation does; refresh tokens live on. */
    expireAccess() {
      for (const family of families) family.expiresAtMs = 0
    },
    get isAlive() {
      return families.some(({ isRevoked }) => !isRevoked)
    },
  }
}
