import ky, { HTTPError } from 'ky'
import type { GrantContext } from '../ports/grant.ts'
import { refused, SessionError } from '../values/errors.ts'
import type { TokenResponse, TokenSet } from '../values/token-set.ts'

/** Who the client is (RFC 6749 §2.3), the same wherever a token endpoint is spoken to. */
export interface ClientOptions {
  clientId?: string
  clientSecret?: string
  /** @default 'client_secret_basic' with a secret, else 'none' */
  clientAuth?: 'none' | 'client_secret_basic' | 'client_secret_post'
  /** Space-separated (RFC 6749 §3.3). */
  scope?: string
  /** The API that the token is for (RFC 8707). */
  resource?: string
  headers?: Record<string, string>
  /** Extra form fields of the token request. */
  parameters?: Record<string, string>
}

/** Where the authorization server is: its endpoints, or its metadata (RFC 8414). */
export type ServerOptions =
  | { tokenEndpoint: string; revocationEndpoint?: string; server?: never }
  | { server: ServerMetadata | ((context: { fetch: typeof fetch; signal: AbortSignal }) => Promise<ServerMetadata>) }

export interface ServerMetadata {
  readonly token_endpoint?: string
  readonly revocation_endpoint?: string
}

export type BodyFormat = 'form' | 'json'

/** What a token endpoint said instead of tokens. It holds the status and OAuth's error code, never the request or a description. */
export class TokenEndpointError extends Error {
  override readonly name = 'TokenEndpointError'
  readonly status: number
  /** RFC 6749 §5.2 */
  readonly error: string | undefined
  readonly retryAfter: string | undefined

  constructor(status: number, error: string | undefined, retryAfter: string | undefined) {
    super(`The authorization server answered ${status}${error ? ` ${error}` : ''}.`)
    this.status = status
    this.error = error
    this.retryAfter = retryAfter
  }
}

const signInTimeoutMs = 30_000

interface EndpointRequest {
  readonly url: string
  readonly fields: Record<string, string | undefined>
  readonly format?: BodyFormat
  /** Its own time is bounded by the session where it renews; a sign-in is bounded here. */
  readonly isSignIn?: boolean
  /** A first-party endpoint says 401 where OAuth says invalid_grant. */
  readonly isFirstParty?: boolean
}

async function post(options: ClientOptions, context: GrantContext, request: EndpointRequest): Promise<unknown> {
  const { headers, fields } = authenticate(options, request.isFirstParty === true)
  const body = defined({ ...fields, ...request.fields, ...(request.isFirstParty ? {} : options.parameters) })
  try {
    const response = await ky.post(request.url, {
      ...(request.format === 'json' ? { json: body } : { body: new URLSearchParams(body) }),
      headers: { Accept: 'application/json', ...headers, ...options.headers },
      fetch: context.fetch,
      signal: context.signal,
      timeout: request.isSignIn ? signInTimeoutMs : false,
      // The renewal law owns retries; nothing sleeps on Retry-After under a lock.
      retry: 0,
    })
    const text = await response.text()
    return parse(text)
  } catch (error) {
    if (error instanceof SessionError) throw error
    if (!(error instanceof HTTPError)) throw new Error(`The token endpoint could not be reached (${nameOf(error)}).`)
    const { status, headers: answer } = error.response
    const code = codeOf(error.data)
    const known = new TokenEndpointError(status, code, answer.get('retry-after') ?? undefined)
    // RFC 6749 §5.2; a bare 401 of an OAuth endpoint may be a proxy's, one of a first-party endpoint is its "no".
    if (code === 'invalid_grant' || (request.isFirstParty && status === 401)) throw refused(known)
    throw known
  }
}

const nameOf = (error: unknown) => (error instanceof Error ? error.name : 'unknown')

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // A captive portal's page: no token in it.
    return undefined
  }
}

function codeOf(data: unknown): string | undefined {
  const body = typeof data === 'string' ? parse(data) : data
  const code = (body as { error?: unknown } | undefined)?.error
  return typeof code === 'string' && /^[\w-]{1,64}$/.test(code) ? code : undefined
}

/** Client authentication: the header and fields it adds (RFC 6749 §2.3.1, id and secret form-encoded in Basic). */
function authenticate(
  options: ClientOptions,
  isFirstParty: boolean,
): { headers: Record<string, string>; fields: Record<string, string | undefined> } {
  const { clientId, clientSecret, clientAuth = clientSecret ? 'client_secret_basic' : 'none' } = options
  if (isFirstParty) return { headers: {}, fields: {} }
  if (clientAuth === 'client_secret_basic') {
    const credentials = `${formEncode(clientId ?? '')}:${formEncode(clientSecret ?? '')}`
    return { headers: { Authorization: `Basic ${btoa(credentials)}` }, fields: {} }
  }
  return {
    headers: {},
    fields: { client_id: clientId, ...(clientAuth === 'client_secret_post' && { client_secret: clientSecret }) },
  }
}

const formEncode = (value: string) => new URLSearchParams({ _: value }).toString().slice(2)

const defined = (fields: Record<string, string | undefined>): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).filter((entry): entry is [string, string] => entry[1] !== undefined))

async function endpoints(
  options: ServerOptions,
  context: GrantContext,
): Promise<{ token: string; revocation: string | undefined }> {
  if (options.server === undefined) return { token: options.tokenEndpoint, revocation: options.revocationEndpoint }
  const metadata = typeof options.server === 'function' ? await options.server(context) : options.server
  if (!metadata.token_endpoint)
    throw new SessionError('misconfigured', 'The server metadata names no token_endpoint (RFC 8414 §2).')
  return { token: metadata.token_endpoint, revocation: metadata.revocation_endpoint }
}

/** The token endpoint of one client, as grants use it. */
export function createTokenEndpoint(options: ServerOptions & ClientOptions & { refreshEndpoint?: string | undefined }) {
  if (!('server' in options && options.server) && !options.tokenEndpoint) {
    throw new SessionError(
      'misconfigured',
      "No token endpoint. Write tokenEndpoint: 'https://…/token', or server: with its metadata.",
    )
  }
  return {
    async request(
      fields: Record<string, string | undefined>,
      context: GrantContext,
      format: BodyFormat = 'form',
      isSignIn = true,
    ) {
      const { token: url } = await endpoints(options, context)
      const all = { scope: options.scope, resource: options.resource, ...fields }
      return (await post(options, context, { url, fields: all, format, isSignIn })) as TokenResponse
    },

    /** RFC 6749 §6, or a first-party endpoint that takes JSON. Asks for no scope: a renewal keeps what was granted. */
    async refresh(tokens: TokenSet, context: GrantContext, format: BodyFormat = 'form') {
      const refresh_token = tokens.refreshToken
      if (options.refreshEndpoint) {
        const request = {
          url: options.refreshEndpoint,
          fields: { refresh_token },
          format: 'json',
          isFirstParty: true,
        } as const
        return (await post(options, context, request)) as TokenResponse
      }
      const { token: url } = await endpoints(options, context)
      const fields = { grant_type: 'refresh_token', refresh_token, resource: options.resource }
      return (await post(options, context, { url, fields, format })) as TokenResponse
    },

    /** RFC 7009: the refresh token where there is one, since that ends the whole grant. */
    async revoke(tokens: TokenSet, context: GrantContext) {
      const { revocation: url } = await endpoints(options, context)
      if (!url) return
      const [token, token_type_hint] = tokens.refreshToken
        ? [tokens.refreshToken, 'refresh_token']
        : [tokens.accessToken, 'access_token']
      await post(options, context, { url, fields: { token, token_type_hint }, isSignIn: true })
    },
  }
}

export const hasRefreshToken = (tokens: TokenSet): boolean => tokens.refreshToken !== undefined
