import {
  type AuthorizationServer,
  authorizationCodeGrantRequest,
  calculatePKCECodeChallenge,
  generateRandomCodeVerifier,
  generateRandomState,
  processAuthorizationCodeResponse,
  pushedAuthorizationRequest,
  validateAuthResponse,
} from 'oauth4webapi'
import type { Grant, GrantContext, SignInResponse } from '../ports/grant.ts'
import { isSessionError, SessionError } from '../values/errors.ts'
import { fetchBase } from '../values/resources.ts'
import { handedOverState, handOver, isHandedOver } from './answer-channel.ts'
import { answerOf, cleanAddress, isAt } from './authorization-answer.ts'
import { assertSecure } from './authorization-request.ts'
import {
  assertBound,
  createOAuthClient,
  type Exchange,
  endpointError,
  endpointOf,
  type IssuerOptions,
  readJson,
  readTokens,
  withoutEmpty,
} from './authorization-server.ts'
import { createEndSession } from './end-session.ts'
import { errorCode } from './endpoint-error.ts'
import { type Open, openerOf } from './open.ts'
import { redirect } from './open-redirect.ts'
import { type PendingSignIn, savePending, takePending } from './pending-sign-in.ts'
import { signInFailure, wrongField } from './sign-in-failure.ts'
import { bindingOf } from './token-binding.ts'
import type { ClientOptions } from './token-endpoint.ts'
import { assertWebCrypto } from './web-crypto.ts'

export type AuthorizationCodeOptions = IssuerOptions &
  ClientOptions & {
    /** Where the answer comes in; registered with the authorization server. A relative one is the page's. `loopback()` has one of its own. */
    redirectUri?: string
    /** How the user comes to the authorization server. @default redirect() */
    open?: Open
    /** Extra fields of the authorization request, pushed or not. */
    parameters?: Record<string, string>
  }

/** What `session.signIn()` takes. */
export interface AuthorizationCodeSignIn {
  /** JSON that comes back with the sign-in: where the user was, for example. */
  appState?: unknown
  /** OpenID Connect Core 1.0 §3.1.2.1. @default 'consent' with the scope offline_access, which asks for it (§11) */
  prompt?: string
  /** Who signs in, as far as the app knows (OpenID Connect Core 1.0 §3.1.2.1). */
  loginHint?: string
  /** Instead of the grant's scope. */
  scope?: string
  /** Ends the waiting, closes the popup or port. The promise rejects with its reason. */
  signal?: AbortSignal
}

// biome-ignore lint/suspicious/noConfusingVoidType: `void` is what lets a caller leave the argument out.
type SignInInput = AuthorizationCodeSignIn | void

type Parameters = [string, string][]

/** An answer that is being exchanged in this document: two calls for one (React's StrictMode) are one exchange. */
interface Completion {
  readonly owner: string
  readonly state: string
  /** What the address bar shows since: the second call may see that only. */
  readonly address: string | undefined
  /** The exchange ends early where all who joined have left. */
  join(signal: AbortSignal): Promise<SignInResponse>
}

const completions = new Set<Completion>()

/**
 * The authorization code grant (RFC 6749 §4.1) with PKCE S256 (RFC 7636), `state` and `iss` (RFC 9207) always, `nonce` with openid, and
 * pushed authorization requests (RFC 9126) where the server offers them. A code is sent at most once; the id token's claims are checked (OpenID
 * Connect Core 1.0 §3.1.3.7), its signature is not: it comes from the token endpoint by TLS.
 * `session.signIn(input)` resolves with `{ appState? }`, or stays pending where the `open` leaves the page and
 * `session.completeSignIn()` resolves with it. `sign_in_failed`: its `cause` names OAuth's error code or the field that was wrong, and
 * `retryable` says that only the network was at fault. `sign_in_cancelled`, `popup_blocked`: as the `open` says.
 * Each request of a sign-in may take 30 s.
 * @throws SessionError `misconfigured` without issuer or server, without WebCrypto, for an `http:` issuer that is not loopback
 */
export function authorizationCode(options: AuthorizationCodeOptions): Grant<SignInInput> {
  if (!options.issuer && !options.server) {
    throw new SessionError(
      'misconfigured',
      "authorizationCode needs to know its server. Write issuer: 'https://login.example.com', or server: with its metadata.",
    )
  }
  // PKCE S256 is a hash.
  assertWebCrypto('authorizationCode')
  const client = createOAuthClient(options)
  const opener = openerOf(options.open ?? redirect())
  const issuer = options.issuer ?? (typeof options.server === 'object' ? options.server.issuer : '')
  const redirectUriOf = () => options.redirectUri && absolute(options.redirectUri)
  const ownerOf = () => JSON.stringify([issuer, options.clientId, options.redirectUri])

  async function signIn(input: SignInInput, context: GrantContext): Promise<SignInResponse> {
    // Before any await: a popup has to open in the caller's own turn.
    const preparing = opener.prepare({ redirectUri: redirectUriOf(), signal: context.signal })
    const opened = preparing instanceof Promise ? await preparing.catch(failToOpen) : preparing
    const close = () => opened.close()
    context.signal.addEventListener('abort', close, { once: true })
    try {
      if (context.signal.aborted) throw context.signal.reason
      const redirectUri = opened.redirectUri ?? redirectUriOf()
      if (!redirectUri)
        throw new SessionError('misconfigured', 'No redirectUri. Write the one that the client is registered with.')
      const { appState, ...request } = input ?? {}
      const scope = request.scope ?? options.scope
      const state = generateRandomState()
      const pending: PendingSignIn = {
        owner: ownerOf(),
        state: opened.isHandedOver ? handedOverState(state) : state,
        nonce: generateRandomState(),
        verifier: generateRandomCodeVerifier(),
        redirectUri,
        isOpenId: listOf(scope).includes('openid'),
        startedAtMs: context.nowMs(),
        ...(appState !== undefined && { appState }),
      }
      const url = await authorizationUrl(pending, { ...request, scope }, opened.parameters, context)
      if (context.signal.aborted) throw context.signal.reason
      if (opened.leavesPage) remember(pending)
      const answer = await opened.go(url, pending.state).catch(failToOpen)
      return await finish(pending, answer, context)
    } finally {
      context.signal.removeEventListener('abort', close)
      close()
    }
  }

  async function authorizationUrl(
    pending: PendingSignIn,
    { scope, prompt, loginHint }: { scope: string | undefined; prompt?: string; loginHint?: string },
    ofOpener: Record<string, string> | undefined,
    context: GrantContext,
  ): Promise<string> {
    const as = await client.metadata(context)
    const endpoint = endpointOf(as, 'authorization_endpoint')
    assertSecure(endpoint)
    const binding = bindingOf(context.attach)
    // OpenID Connect Core 1.0 §11: without consent, offline_access is ignored.
    const consent = listOf(scope).includes('offline_access') ? 'consent' : undefined
    const parameters: Parameters = Object.entries({
      ...withoutEmpty({
        prompt: consent,
        ...options.parameters,
        scope,
        ...(prompt !== undefined && { prompt }),
        login_hint: loginHint,
      }),
      ...ofOpener,
      ...(binding && { dpop_jkt: await binding.thumbprint() }),
      client_id: options.clientId ?? '',
      response_type: 'code',
      redirect_uri: pending.redirectUri,
      state: pending.state,
      // Of OpenID Connect alone: oidc-provider refuses it without the scope.
      ...(pending.isOpenId && { nonce: pending.nonce }),
      code_challenge: await calculatePKCECodeChallenge(pending.verifier),
      code_challenge_method: 'S256',
    })
    for (const resource of [options.resource ?? []].flat()) parameters.push(['resource', resource])
    const visible = as.pushed_authorization_request_endpoint ? await push(parameters, context) : parameters
    // By hand: React Native's URL has no searchParams to append to.
    const query = visible.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&')
    return `${endpoint}${endpoint.includes('?') ? '&' : '?'}${query}`
  }

  /** RFC 9126: the browser carries a reference only. */
  async function push(parameters: Parameters, context: GrantContext): Promise<Parameters> {
    const { response } = await client.exchange(
      'pushed_authorization_request_endpoint',
      context,
      (as, known, auth, sending) => pushedAuthorizationRequest(as, known, auth, parameters, sending),
    )
    if (!response.ok) throw await endpointError(response)
    const { request_uri } = (await readJson(response)) ?? {}
    if (typeof request_uri !== 'string')
      throw signInFailure('request_uri', 'The authorization server took the request and gave no reference.')
    return [
      ['client_id', options.clientId ?? ''],
      ['request_uri', request_uri],
    ]
  }

  /** Judges an answer and sends its code. In order: state, issuer, error, and the id token after the exchange. */
  async function finish(pending: PendingSignIn, url: string, context: GrantContext): Promise<SignInResponse> {
    const answer = answerOf(url)
    if (answer?.state !== pending.state) throw signInFailure('state', 'The answer does not belong to this sign-in.')
    const as = await client.metadata(context)
    const code = accept(as, answer, pending.state)
    const { response, ...asked } = await client.exchange('token_endpoint', context, (as, known, auth, sending) =>
      authorizationCodeGrantRequest(as, known, auth, code, pending.redirectUri, pending.verifier, {
        ...sending,
        additionalParameters: withoutEmpty({ resource: [options.resource].flat()[0] }),
      }),
    )
    const tokens = await readTokens(response.clone())
    if (tokens.id_token || pending.isOpenId) await checkIdToken({ ...asked, response }, pending)
    assertBound(tokens, context)
    return { ...tokens, ...('appState' in pending && { appState: pending.appState }) }
  }

  function accept(as: AuthorizationServer, answer: URLSearchParams, state: string): URLSearchParams {
    try {
      return validateAuthResponse(as, { client_id: options.clientId ?? '' }, answer, state)
    } catch (error) {
      const { code } = error as { code?: string }
      if (code === 'OAUTH_AUTHORIZATION_RESPONSE_ERROR') throw signInFailure(errorCode(answer.get('error')) ?? 'error')
      throw wrongField(error)
    }
  }

  function completionOf(url: string): Completion | undefined {
    const state = answerOf(url)?.state
    const owner = ownerOf()
    return [...completions].find(open => open.owner === owner && (state ? open.state === state : open.address === url))
  }

  /** Synchronous up to the exchange: the address is clean and the sign-in taken out before anybody else can look. */
  function complete(url: string, context: GrantContext): Promise<SignInResponse> | undefined {
    const shared = completionOf(url)
    if (shared) return shared.join(context.signal)
    const answer = answerOf(url)
    if (!answer) return undefined
    const { state } = answer
    if (isHandedOver(state)) {
      cleanAddress(url)
      handOver(state, url)
      return undefined
    }
    const pending = takePending(state, ownerOf())
    if (pending === 'foreign') return undefined
    if (!pending) {
      const { redirectUri } = options
      if (!redirectUri || !isAt(url, absolute(redirectUri))) return undefined
      cleanAddress(url)
      throw signInFailure('state', 'No sign-in of this tab waits for this answer. Sign in again.')
    }
    const address = cleanAddress(url)
    const abort = new AbortController()
    const response = finish(pending, url, { ...context, signal: abort.signal }).finally(() =>
      completions.delete(completion),
    )
    const completion: Completion = { owner: pending.owner, state, address, join: joining(response, abort) }
    completions.add(completion)
    return completion.join(context.signal)
  }

  return {
    name: 'authorization_code',
    signIn,
    answerIn: url => answerOf(url)?.state ?? completionOf(url)?.state,
    complete: async (url, context) => complete(url, context),
    renew: (tokens, context) => client.refresh(tokens, context),
    ...createEndSession(client, options.clientId),
    canRenew: ({ refreshToken }) => refreshToken !== undefined,
  }
}

async function checkIdToken({ as, client, response }: Exchange, pending: PendingSignIn): Promise<void> {
  try {
    await processAuthorizationCodeResponse(
      as,
      client,
      response,
      pending.isOpenId ? { expectedNonce: pending.nonce } : {},
    )
  } catch (error) {
    throw wrongField(error)
  }
}

/** Whoever leaves ends the work for himself; the last one ends it. A call that takes another's place joins in the same turn. */
function joining<T>(work: Promise<T>, abort: AbortController): (signal: AbortSignal) => Promise<T> {
  const signals = new Set<AbortSignal>()
  return signal => {
    signals.add(signal)
    const leave = async () => {
      signals.delete(signal)
      await undefined
      if (!signals.size) abort.abort(signal.reason)
    }
    signal.addEventListener('abort', leave, { once: true })
    return work
  }
}

function remember(pending: PendingSignIn): void {
  try {
    savePending(pending)
  } catch (cause) {
    if (isSessionError(cause)) throw cause
    const message = 'The sign-in can not be kept for the way back: appState is no JSON, or sessionStorage is full.'
    throw new SessionError('sign_in_failed', message, { cause })
  }
}

function failToOpen(cause: unknown): never {
  if (isSessionError(cause)) throw cause
  throw new SessionError(
    'sign_in_failed',
    'The authorization server could not be shown. The cause is what `open` threw.',
    { cause },
  )
}

const listOf = (scope: string | undefined): readonly string[] => scope?.split(' ') ?? []

/** As the app writes it; a relative one is the page's. A native scheme is left as it is. */
const absolute = (uri: string) => (/^[a-z][a-z\d+.-]*:/i.test(uri) ? uri : new URL(uri, fetchBase()).href)
