import {
  type AuthorizationServer,
  type Client,
  ClientSecretBasic,
  ClientSecretPost,
  clockSkew,
  clockTolerance,
  None,
  type ClientAuth as OAuthClientAuth,
  refreshTokenGrantRequest,
  revocationRequest,
} from 'oauth4webapi'
import type { GrantContext } from '../ports/grant.ts'
import { refused, SessionError } from '../values/errors.ts'
import { within } from '../values/timers.ts'
import type { TokenResponse, TokenSet } from '../values/token-set.ts'
import { requestOptions } from './authorization-request.ts'
import { discover, type ServerContext } from './discover.ts'
import { errorCode, TokenEndpointError } from './endpoint-error.ts'
import { signInFailure } from './sign-in-failure.ts'
import { bindingOf } from './token-binding.ts'
import type { ClientOptions } from './token-endpoint.ts'

/** Where the authorization server is: one of the two. */
export interface IssuerOptions {
  /** Its issuer identifier, to the letter as its metadata write it: https, or http on loopback. Short for `server: discover(issuer)`. */
  issuer?: string
  /** Its metadata in wire names (RFC 8414 §2), or a function that resolves with them: `discover(issuer)`, shared by several grants. Asked at each use. */
  server?: AuthorizationServer | ((context: ServerContext) => Promise<AuthorizationServer>)
}

/** Endpoints of a server that is not discovered, as absolute URLs. */
export interface EndpointOptions {
  tokenEndpoint?: string
  /** RFC 7009. Without it a signOut is local. */
  revocationEndpoint?: string
}

/** The answer to a request, with what it was asked with. */
export interface Exchange {
  readonly as: AuthorizationServer
  readonly client: Client
  readonly response: Response
}

type Endpoint =
  | 'token_endpoint'
  | 'authorization_endpoint'
  | 'pushed_authorization_request_endpoint'
  | 'device_authorization_endpoint'
  | 'revocation_endpoint'
  | 'introspection_endpoint'

/** Sends one request by oauth4webapi. */
export type Send = (
  as: AuthorizationServer,
  client: Client,
  clientAuth: OAuthClientAuth,
  options: ReturnType<typeof requestOptions> & { headers: Record<string, string> },
) => Promise<Response>

/** What a view asks for (`session.for`). */
export interface RenewalTarget {
  readonly resource?: string | undefined
  readonly scope?: string | undefined
}

const signInTimeoutMs = 30_000
// Clocks of users are wrong by minutes; an id token lives for as long.
const toleratedSeconds = 300

/** One client of one authorization server, as the grants speak to it. */
export type OAuthClient = ReturnType<typeof createOAuthClient>

/** @throws SessionError `misconfigured` where nothing says which server */
export function createOAuthClient(options: IssuerOptions & EndpointOptions & ClientOptions) {
  const { issuer, server, tokenEndpoint } = options
  const source = server ?? (issuer ? discover(issuer) : fromEndpoints(options))
  if (!source) {
    throw new SessionError(
      'misconfigured',
      `No authorization server. Write issuer: 'https://login.example.com'${tokenEndpoint ? ': the token endpoint alone does not do here' : ''}.`,
    )
  }
  const clientAuth = clientAuthOf(options)

  const metadata = async ({ fetch, signal }: ServerContext): Promise<AuthorizationServer> =>
    typeof source === 'function' ? source({ fetch, signal }) : source

  const clientOf = (nowMs: number): Client => ({
    client_id: options.clientId ?? '',
    [clockSkew]: Math.round((nowMs - Date.now()) / 1000),
    [clockTolerance]: toleratedSeconds,
  })

  /** One request, and once more where the server wants another DPoP nonce (RFC 9449 §8). */
  async function exchange(
    endpoint: Endpoint,
    context: GrantContext,
    send: Send,
    { isBound = true, timeoutMs = signInTimeoutMs as number | undefined } = {},
  ): Promise<Exchange> {
    const as = await metadata(context)
    endpointOf(as, endpoint)
    const client = clientOf(context.nowMs())
    const binding = isBound ? bindingOf(context.attach) : undefined
    for (let isRetry = false; ; isRetry = true) {
      let wantsNonce = false
      const sending = requestOptions(context, binding, wants => {
        wantsNonce = wants
      })
      const work = send(as, client, clientAuth, { ...sending, headers: options.headers ?? {} })
      const response = await (timeoutMs === undefined ? work : within(work, timeoutMs, tooLate))
      if (!wantsNonce || isRetry) return { as, client, response }
    }
  }

  return {
    metadata,
    exchange,

    /** RFC 6749 §6. A view narrows the scope or names its resource (RFC 8707). */
    async refresh(
      tokens: TokenSet,
      context: GrantContext & { target?: RenewalTarget | undefined },
      parameters: Record<string, string> = {},
    ): Promise<TokenResponse> {
      const { target } = context
      const fields = withoutEmpty({
        ...parameters,
        resource: target?.resource ?? [options.resource].flat()[0],
        scope: target?.scope,
      })
      const { response } = await exchange(
        'token_endpoint',
        context,
        (as, client, auth, sending) =>
          refreshTokenGrantRequest(as, client, auth, tokens.refreshToken ?? '', {
            ...sending,
            additionalParameters: fields,
          }),
        // Bounded by the session, which may still commit a late answer.
        { timeoutMs: undefined },
      )
      return readTokens(response).catch(error => {
        throw error.error === 'invalid_grant' ? refused(error) : error
      })
    },

    /** RFC 7009: the refresh token where there is one, since that ends the whole grant. */
    async revoke(tokens: TokenSet, context: GrantContext): Promise<void> {
      const as = await metadata(context)
      if (!as.revocation_endpoint) return
      const [token, hint] = tokens.refreshToken
        ? [tokens.refreshToken, 'refresh_token']
        : [tokens.accessToken, 'access_token']
      const send: Send = (as, client, auth, sending) =>
        revocationRequest(as, client, auth, token, { ...sending, additionalParameters: { token_type_hint: hint } })
      const { response } = await exchange('revocation_endpoint', context, send, { isBound: false })
      if (!response.ok) throw await endpointError(response)
    },
  }
}

/** @throws SessionError `misconfigured`: the server does not do that */
export function endpointOf(as: AuthorizationServer, endpoint: Endpoint): string {
  const url = as[endpoint]
  if (url) return url
  throw new SessionError(
    'misconfigured',
    `The metadata of the authorization server names no ${endpoint} (RFC 8414 §2).`,
  )
}

function fromEndpoints({ tokenEndpoint, revocationEndpoint }: EndpointOptions): AuthorizationServer | undefined {
  if (!tokenEndpoint) return undefined
  return {
    issuer: new URL(tokenEndpoint).origin,
    token_endpoint: tokenEndpoint,
    ...(revocationEndpoint && { revocation_endpoint: revocationEndpoint }),
  }
}

function clientAuthOf({ clientSecret, clientAuth }: ClientOptions): OAuthClientAuth {
  const how = clientAuth ?? (clientSecret ? 'client_secret_basic' : 'none')
  if (typeof how === 'function') return how as OAuthClientAuth
  if (how === 'none') return None()
  if (!clientSecret) throw new SessionError('misconfigured', `${how} needs a clientSecret.`)
  return how === 'client_secret_post' ? ClientSecretPost(clientSecret) : ClientSecretBasic(clientSecret)
}

/** RFC 9449 §5: tokens that were asked for with a key and are not bound to it are not taken. */
export function assertBound(tokens: TokenResponse, context: GrantContext): void {
  if (!bindingOf(context.attach) || tokens.token_type?.toLowerCase() === 'dpop') return
  throw signInFailure(
    'token_type',
    'The token is not bound to the DPoP key. Does the authorization server support DPoP?',
  )
}

/** The tokens of a 200, unjudged: the session reads them. @throws TokenEndpointError: what the server said instead */
export async function readTokens(response: Response): Promise<TokenResponse> {
  const body = await readJson(response)
  // GitHub answers its errors with 200.
  if (!response.ok || (errorCode(body?.error) && !body?.access_token)) {
    throw errorOf(response, body)
  }
  return (body ?? {}) as unknown as TokenResponse
}

export async function endpointError(response: Response): Promise<TokenEndpointError> {
  return errorOf(response, await readJson(response))
}

function errorOf(response: Response, body: Record<string, unknown> | undefined): TokenEndpointError {
  const status = response.ok ? 400 : response.status
  return new TokenEndpointError(status, errorCode(body?.error), response.headers.get('retry-after') ?? undefined)
}

export async function readJson(response: Response): Promise<Record<string, unknown> | undefined> {
  let text: string
  try {
    text = await response.text()
  } catch (error) {
    throw new Error(`The answer of the authorization server broke off (${(error as Error | undefined)?.name}).`)
  }
  try {
    const body: unknown = JSON.parse(text)
    return typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : undefined
  } catch {
    // A captive portal's page: no token in it.
    return undefined
  }
}

export const withoutEmpty = (fields: Record<string, string | undefined>): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).filter((entry): entry is [string, string] => !!entry[1]))

// Not thrown at once: this runs in a timer, where nobody would catch it.
async function tooLate(): Promise<never> {
  throw new Error(`The authorization server did not answer within ${signInTimeoutMs} ms.`)
}
