import { type AuthorizationServer, discoveryRequest, processDiscoveryResponse } from 'oauth4webapi'
import { SessionError } from '../values/errors.ts'
import { within } from '../values/timers.ts'
import { assertSecure, requestOptions } from './authorization-request.ts'
import { TokenEndpointError } from './endpoint-error.ts'

/** What a `server` function gets to do its work. */
export interface ServerContext {
  readonly fetch: typeof fetch
  readonly signal: AbortSignal
}

const timeoutMs = 30_000

/**
 * The metadata of an authorization server (OpenID Connect Discovery 1.0, else RFC 8414). It does nothing until asked, asks once for all
 * sessions that share it, within 30 s, and keeps no failure. What names another issuer is `sign_in_failed`, and nobody is sent there.
 * @param issuer To the letter as the metadata write it, with or without a slash at the end.
 * @returns What the option `server` of the grants takes: a function that resolves with the metadata in wire names (RFC 8414 §2).
 * @throws SessionError `misconfigured` for what is no URL, or an `http:` issuer that is not loopback
 */
export function discover(issuer: string): (context: ServerContext) => Promise<AuthorizationServer> {
  const url = issuerUrl(issuer)
  let known: Promise<AuthorizationServer> | undefined
  return ({ fetch, signal }) => {
    // One caller's abort is nobody else's: the request has its own time.
    known ??= load(url, fetch).catch(error => {
      known = undefined
      throw error
    })
    const shared = known
    return new Promise((resolve, reject) => {
      const leave = () => reject(signal.reason)
      if (signal.aborted) leave()
      signal.addEventListener('abort', leave, { once: true })
      shared.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave))
    })
  }
}

function issuerUrl(issuer: string): URL {
  try {
    const url = new URL(issuer)
    assertSecure(url.href)
    return url
  } catch (error) {
    if (error instanceof SessionError) throw error
    throw new SessionError('misconfigured', "The issuer is no URL. Write issuer: 'https://login.example.com'.")
  }
}

async function load(issuer: URL, fetch: typeof globalThis.fetch): Promise<AuthorizationServer> {
  const abort = new AbortController()
  const ask = async (algorithm: 'oidc' | 'oauth2') =>
    discoveryRequest(issuer, { algorithm, ...requestOptions({ fetch, signal: abort.signal }) })
  const work = async () => {
    const first = await ask('oidc')
    const response = first.status === 404 ? await ask('oauth2') : first
    if (response.status !== 200) {
      throw new TokenEndpointError(response.status, undefined, response.headers.get('retry-after') ?? undefined)
    }
    return processDiscoveryResponse(issuer, response).catch(error => {
      throw foreignOrBroken(error)
    })
  }
  // Not thrown at once: this runs in a timer, where nobody would catch it.
  return within(work(), timeoutMs, async (): Promise<never> => {
    abort.abort()
    throw new Error(`The authorization server did not answer within ${timeoutMs} ms.`)
  })
}

function foreignOrBroken(error: unknown): Error {
  if ((error as { code?: unknown }).code !== 'OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED') {
    return new Error('The metadata of the authorization server could not be read.')
  }
  return new SessionError(
    'sign_in_failed',
    'The metadata found there belongs to another issuer, so nobody is sent to it. Write the issuer exactly as its server does.',
    { cause: Object.assign(new Error('The issuer of the metadata is another one.'), { code: 'issuer' }) },
  )
}
