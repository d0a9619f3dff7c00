import ky, { HTTPError } from 'ky'
import type { GrantContext } from '../ports/grant.ts'
import { refused, SessionError } from '../values/errors.ts'
import type { TokenResponse, TokenSet } from '../values/token-set.ts'
import { errorCode, TokenEndpointError } from './endpoint-error.ts'
import { bindingOf } from './token-binding.ts'

/** Who the client is (RFC 6749 §2.3), the same wherever a token endpoint is spoken to. */
export interface ClientOptions {
  /** As the authorization server registered it. */
  clientId?: string
  /** Never in a page or an app: whoever has the code has it. */
  clientSecret?: string
  /** `privateKeyJwt()` and `clientSecretJwt()` come from latchkey/oauth. @default 'client_secret_basic' with a secret, else 'none' */
  clientAuth?: 'none' | 'client_secret_basic' | 'client_secret_post' | ClientAuth
  /** Space-separated (RFC 6749 §3.3). @default what the server gives without */
  scope?: string
  /** The API that the token is for (RFC 8707). Of several, the first stands in token requests. */
  resource?: string | readonly string[]
  /** Extra headers of every request to the authorization server. */
  headers?: Record<string, string>
  /** Extra form fields of the token request; of the authorization request in `authorizationCode`. */
  parameters?: Record<string, string>
}

/** Authenticates the client by adding to the form or the headers of a request: the shape of oauth4webapi's `ClientAuth`. */
export type ClientAuth = (
  server: ServerMetadata & { issuer: string },
  client: { client_id: string },
  body: URLSearchParams,
  headers: Headers,
) => void | Promise<void>

/** Where the authorization server is: its endpoints, or its metadata (RFC 8414). */
export type ServerOptions =
  | { tokenEndpoint: string; revocationEndpoint?: string; server?: never }
  | { server: ServerMetadata | ((context: { fetch: typeof fetch; signal: AbortSignal }) => Promise<ServerMetadata>) }

export interface ServerMetadata {
  readonly issuer?: string
  readonly token_endpoint?: string
  readonly revocation_endpoint?: string
}

export type BodyFormat = 'form' | 'json'

const signInTimeoutMs = 30_000

interface EndpointRequest {
  readonly url: string
  readonly server?: ServerMetadata | undefined
  readonly fields: Record<string, string | undefined>
  readonly format?: BodyFormat
  /** Its own time is bounded by the session where it renews; a sign-in is bounded here. */
  readonly isSignIn?: boolean
  /** A first-party endpoint says 401 where OAuth says invalid_grant. */
  readonly isFirstParty?: boolean
  /** Nothing is bound by it, so no proof goes along (RFC 9449 §5). */
  readonly isRevocation?: boolean
}

async function post(
  options: ClientOptions,
  context: GrantContext,
  request: EndpointRequest,
  isRetry = false,
): Promise<unknown> {
  const binding = request.isFirstParty || request.isRevocation ? undefined : bindingOf(context.attach)
  const proved = { method: 'POST', url: request.url }
  let wantsNonce = false

  const given = defined({
    ...request.fields,
    ...(request.isFirstParty ? {} : options.parameters),
    // A view's token is for this and nothing more (RFC 8707 §2.2, RFC 6749 §6).
    ...(request.isRevocation ? {} : context.target),
  })
  const { headers, fields } = await authenticate(options, request, given)
  const body = defined({ ...fields, ...given })
  try {
    const response = await ky.post(request.url, {
      // As text: React Native's fetch sends nothing of a URLSearchParams.
      ...(request.format === 'json' ? { json: body } : { body: `${new URLSearchParams(body)}` }),
      headers: {
        Accept: 'application/json',
        ...(request.format !== 'json' && { 'Content-Type': 'application/x-www-form-urlencoded;charset=UTF-8' }),
        ...headers,
        ...options.headers,
        ...(await binding?.proof(proved)),
      },
      fetch: async (input, init) => {
        const answer = await context.fetch(input, init)
        if (binding) wantsNonce = await binding.keepNonce(answer, proved)
        return answer
      },
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
    // RFC 9449 §8: the same once more, with the nonce that came along.
    if (wantsNonce && !isRetry) return post(options, context, request, true)
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
  return errorCode((body as { error?: unknown } | undefined)?.error)
}

/** Client authentication: the header and fields it adds (RFC 6749 §2.3.1, id and secret form-encoded in Basic). */
async function authenticate(
  options: ClientOptions,
  request: EndpointRequest,
  given: Record<string, string>,
): Promise<{ headers: Record<string, string>; fields: Record<string, string | undefined> }> {
  const { clientId, clientSecret, clientAuth = clientSecret ? 'client_secret_basic' : 'none' } = options
  if (request.isFirstParty) return { headers: {}, fields: {} }
  if (typeof clientAuth === 'function') {
    const body = new URLSearchParams(given)
    const headers = new Headers()
    // The audience of an assertion (RFC 7523 §3) is the issuer; a server known by its endpoint goes by that.
    const server = { token_endpoint: request.url, ...request.server, issuer: request.server?.issuer ?? request.url }
    await clientAuth(server, { client_id: clientId ?? '' }, body, headers)
    return { headers: Object.fromEntries(headers), fields: Object.fromEntries(body) }
  }
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
): Promise<{ token: string; revocation: string | undefined; server?: ServerMetadata }> {
  if (options.server === undefined) return { token: options.tokenEndpoint, revocation: options.revocationEndpoint }
  const metadata = typeof options.server === 'function' ? await options.server(context) : options.server
  if (!metadata.token_endpoint)
    throw new SessionError('misconfigured', 'The server metadata names no token_endpoint (RFC 8414 §2).')
  return { token: metadata.token_endpoint, revocation: metadata.revocation_endpoint, server: metadata }
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
      const { token: url, server } = await endpoints(options, context)
      const all = { scope: options.scope, resource: firstOf(options.resource), ...fields }
      return (await post(options, context, { url, server, fields: all, format, isSignIn })) as TokenResponse
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
      const { token: url, server } = await endpoints(options, context)
      const fields = { grant_type: 'refresh_token', refresh_token, resource: firstOf(options.resource) }
      return (await post(options, context, { url, server, fields, format })) as TokenResponse
    },

    /** RFC 7009: the refresh token where there is one, since that ends the whole grant. */
    async revoke(tokens: TokenSet, context: GrantContext) {
      const { revocation: url, server } = await endpoints(options, context)
      if (!url) return
      const [token, token_type_hint] = tokens.refreshToken
        ? [tokens.refreshToken, 'refresh_token']
        : [tokens.accessToken, 'access_token']
      await post(options, context, {
        url,
        server,
        fields: { token, token_type_hint },
        isSignIn: true,
        isRevocation: true,
      })
    },
  }
}

/** RFC 8707 §2.2: one token request, one resource. */
export const firstOf = (resource: string | readonly string[] | undefined): string | undefined => [resource].flat()[0]

export const hasRefreshToken = (tokens: TokenSet): boolean => tokens.refreshToken !== undefined
