import type { Attach, AttachRequest } from '../ports/attach.ts'
import { asksForMore, type Challenge, isTokenRejected, tokenChallenge } from '../values/challenge.ts'
import type { Clock } from '../values/clock.ts'
import { isSessionError, toError } from '../values/errors.ts'
import type { Emitter } from '../values/events.ts'
import { readClaims } from '../values/jwt.ts'
import { isThenable } from '../values/maybe-promise.ts'
import {
  detach,
  dispatch,
  hasHeader,
  isPlain,
  type Outgoing,
  release,
  takeBack,
  takeOver,
  withAuthorization,
} from '../values/outgoing.ts'
import type { ResourceMatcher } from '../values/resources.ts'
import type { Access } from './access.ts'
import { isFailure } from './flight.ts'
import { followRedirects, isElsewhere } from './redirects.ts'
import type { Held, SessionEvents, StepUpRequest, TokenManager } from './token-manager.ts'

/** Whether an answer means that the token is no good. The response is a clone: its body may be read. A predicate that throws means no. */
export type IsAuthFailure = (
  response: Response,
  request: { readonly method: string; readonly url: string },
) => boolean | Promise<boolean>

interface AuthFetchOptions {
  readonly fetch: typeof fetch
  readonly isResource: ResourceMatcher
  readonly attach: Attach
  readonly access: Access
  readonly manager: TokenManager
  readonly clock: Clock
  readonly emitter: Emitter<SessionEvents>
  readonly minIntervalMs: number
  readonly renewsAtOnce: boolean
  readonly isAuthFailure?: IsAuthFailure
  readonly onStepUp?: (request: StepUpRequest) => boolean | Promise<boolean>
  readonly whenSignedOut?: 'reject' | 'send-anonymously'
  readonly redirects?: 'safe' | 'platform'
  readonly assertUsable: (signal: AbortSignal | null | undefined) => void
}

const smallBodyBytes = 16_384

/**
 * The fetch contract: attach, send, and where the server refuses the token, replace it and send once more.
 * A request belongs to the sign-in it was first sent under and is never sent for another.
 */
export function createAuthFetch(options: AuthFetchOptions): typeof fetch {
  const { fetch: raw, isResource, attach, access, manager, emitter } = options
  const isAnyAnswerAsked = !!options.isAuthFailure || !!attach.retry
  const authorization = attach.authorization as NonNullable<Attach['authorization']>
  const isSimple = !!authorization && !isAnyAnswerAsked
  let isRedirectTold = false

  return function sessionFetch(
    input: string | URL | Request,
    init: RequestInit | undefined = undefined, // so that the length is 1, as fetch's
  ): Promise<Response> {
    let request: Outgoing | undefined
    try {
      const isRequest = typeof input === 'object' && input !== null && 'headers' in input
      // Read once: what is looked at is what is sent.
      const url = typeof input === 'string' ? input : isRequest ? input.url : `${input as URL}`
      if (isResource(url)) {
        if (isSimple && !isRequest && (!init || isPlain(init)) && !emitter.has('request')) {
          const sent = sendAtOnce(url, init)
          if (sent) return sent
        }
        request = takeOver(isRequest ? input : url, init)
      }
    } catch (error) {
      // What the platform can't parse is the platform's to refuse; what Latchkey refuses says why.
      return isSessionError(error) ? Promise.reject(error) : raw(input, init)
    }
    if (!request) return raw(input, init)
    // What a Request says of itself is not always where the platform sends it: a subclass may say anything.
    if (request.request && !isResource(request.url)) {
      release(request)
      return dispatch(raw, request, undefined)
    }
    try {
      options.assertUsable(request.signal)
      const held = access.peek(request.isOneShot)
      return held ? send(request, held) : begin(request)
    } catch (error) {
      return Promise.reject(error)
    }
  } as typeof fetch

  /** The common case, a token at hand and plain data: what a second send would need is made only if the answer asks for it. */
  function sendAtOnce(url: string, init: RequestInit | undefined): Promise<Response> | undefined {
    try {
      options.assertUsable(init?.signal)
      const held = access.peek()
      if (!held) return undefined
      // A renewal that began behind it has met the end of its sign-in, where the storage is synchronous.
      if (manager.held?.record.id !== held.record.id) throw manager.signedOutError()
      const sent = withAuthorization(init, authorization(held.record.tokens))
      return raw(url, sent).then(response =>
        response.status < 400 ? response : decide(takeBack(url, sent), held, response),
      )
    } catch (error) {
      return Promise.reject(error)
    }
  }

  function tellRedirects(): void {
    if (!isRedirectTold) emitter.emit('degraded', { what: 'redirects' })
    isRedirectTold = true
  }

  /** Waits for a token, then sends. */
  async function begin(request: Outgoing): Promise<Response> {
    detach(request)
    let held: Held
    try {
      held = await access.get(request)
    } catch (error) {
      const isOut = isSessionError(error) && error.code === 'signed_out'
      release(request)
      if (isOut && options.whenSignedOut === 'send-anonymously') return dispatch(raw, request, undefined)
      throw error
    }
    return send(request, held)
  }

  /** Attaches and sends, if the sign-in is still the one that the request belongs to. */
  function send(request: Outgoing, held: Held): Promise<Response> {
    const { id, tokens } = held.record
    if (manager.held?.record.id !== id) return giveUp(request)
    const headers = attach(describe(request), tokens)
    if (!isThenable(headers)) return sendWith(request, held, headers)
    return headers.then(value => (manager.held?.record.id === id ? sendWith(request, held, value) : giveUp(request)))
  }

  function sendWith(request: Outgoing, held: Held, headers: Record<string, string>): Promise<Response> {
    let isGuarded = false
    for (const name in headers) {
      if (name === 'Authorization') continue
      // The caller's own credential wins, and its 401 is the caller's.
      if (hasHeader(request.headers, name)) {
        release(request)
        return dispatch(raw, request, undefined)
      }
      isGuarded ||= name.toLowerCase() !== 'authorization' && options.redirects !== 'platform'
    }
    const sent = isGuarded ? sendGuarded(request, held, headers) : dispatch(raw, request, headers)
    const reported = emitter.has('request') ? report(request, sent) : sent
    if (request.spare) reported.catch(() => release(request))
    return reported.then(response => {
      if (response.status >= 400 || isAnyAnswerAsked) return decide(request, held, response)
      // The common case: nothing to decide.
      if (request.spare) release(request)
      return response
    })
  }

  /** A credential that is not `Authorization`: platforms would carry it wherever a redirect leads. */
  function sendGuarded(request: Outgoing, held: Held, headers: Record<string, string>): Promise<Response> {
    if (request.redirect === 'manual' || request.redirect === 'error') return dispatch(raw, request, headers)
    return followRedirects(request, {
      send: async hop => {
        if (hop === request) return dispatch(raw, hop, headers, 'manual')
        const attached = isResource(hop.url) ? await attach(describe(hop), held.record.tokens) : undefined
        return dispatch(raw, hop, attached, 'manual')
      },
      discard,
      onIgnored: tellRedirects,
    })
  }

  /** What to do about an answer; each reason to send again counts once per request. */
  async function decide(request: Outgoing, held: Held, response: Response): Promise<Response> {
    // A redirect led out of the resources: the answer is somebody else's, and says nothing about the token.
    if (response.url && response.url !== request.url && !isResource(response.url)) {
      release(request)
      return response
    }
    // Some platforms (iOS) lose Authorization on a redirect: not another token helps, but the final URL.
    if (response.status === 401 && isElsewhere(request.url, response.url)) tellRedirects()
    // Asked about every answer: each may bring what the next request needs (RFC 9449 §8.2).
    const wantsRetry = await attach.retry?.(response, describe(request))
    if (wantsRetry && !request.isRetried && !request.isOneShot) {
      request.isRetried = true
      discard(response)
      return send(request, held)
    }
    const refusal = response.status === 401 || response.status === 403 ? tokenChallenge(response) : undefined
    if (refusal && asksForMore(refusal) && (await isSteppedUp(request, refusal))) {
      const next = manager.held
      if (!next || !isSameUser(next, held)) return giveUp(request, response)
      discard(response)
      return send(request, next)
    }
    const isRejected =
      !request.isReplaced &&
      (options.isAuthFailure
        ? await askApp(options.isAuthFailure, request, response)
        : isTokenRejected(response, refusal))
    if (isRejected) return replace(request, held, response)
    release(request)
    return response
  }

  async function askApp(isAuthFailure: IsAuthFailure, { method, url }: Outgoing, response: Response): Promise<boolean> {
    // The app may look into the body; the response stays unread. What it did not read is let go, or it would be buffered.
    const copy = response.clone()
    try {
      return (await isAuthFailure(copy, { method, url })) === true
    } catch {
      return false
    } finally {
      if (!copy.bodyUsed) copy.body?.cancel().catch(() => undefined)
    }
  }

  /** The server refused the token: send again with another, or say why there is none. */
  async function replace(request: Outgoing, held: Held, response: Response): Promise<Response> {
    const { id, tokens } = held.record
    const current = manager.held
    if (current?.record.id !== id) return giveUp(request, response)
    const isStale = current.record.tokens.accessToken !== tokens.accessToken
    if (!isStale || manager.remainingMs() <= 0) {
      if (!isStale && current.record.refused) {
        manager.end('refused')
        return giveUp(request, response)
      }
      const isYoung = !options.renewsAtOnce && manager.remainingMs() > 0 && manager.ageMs() < options.minIntervalMs
      if (isYoung || (request.isExpired && !isStale) || !manager.canRenew(current.record.tokens)) {
        release(request)
        return response
      }
      // A stream can't be sent again: the answer is the answer, and the next call has a new token.
      const outcome = access.replace(current, request.signal, true)
      if (request.isOneShot) {
        await outcome.catch(() => undefined)
        return response
      }
      const result = await outcome
      if (manager.held?.record.id !== id) return giveUp(request, response)
      if (isFailure(result)) {
        if (manager.held.record.refused) manager.end('refused')
        release(request)
        throw toError(result, response)
      }
    } else if (request.isOneShot) return response
    const next = manager.held
    if (next?.record.id !== id) return giveUp(request, response)
    request.isReplaced = true
    discard(response)
    return send(request, next)
  }

  /** The sign-in that the request belongs to is over. */
  async function giveUp(request: Outgoing, response?: Response): Promise<never> {
    release(request)
    throw manager.signedOutError(response)
  }

  /** 403 `insufficient_scope` (RFC 6750 §3.1) and 401 `insufficient_user_authentication` (RFC 9470): told, and sent again once the app has stepped up. */
  async function isSteppedUp(request: Outgoing, challenge: Challenge['parameters']): Promise<boolean> {
    const maxAge = Number(challenge.max_age ?? Number.NaN)
    const payload: StepUpRequest = {
      url: originAndPath(request.url),
      ...(challenge.scope && { scope: challenge.scope }),
      ...(challenge.acr_values && { acrValues: challenge.acr_values }),
      ...(maxAge >= 0 && { maxAge }),
    }
    emitter.emit('insufficient-scope', payload)
    if (request.isOneShot || request.isSteppedUp) return false
    request.isSteppedUp = true
    return (await options.onStepUp?.(payload)) === true
  }

  function report(request: Outgoing, sent: Promise<Response>): Promise<Response> {
    const attempt = request.sends
    const startedAtMs = options.clock.now()
    const started = options.clock.monotonic()
    const tell = (status?: number) =>
      emitter.emit('request', {
        method: request.method,
        url: originAndPath(request.url),
        attempt,
        startedAtMs,
        durationMs: options.clock.monotonic() - started,
        ...(status !== undefined && { status }),
      })
    return sent.then(
      response => {
        tell(response.status)
        return response
      },
      error => {
        tell()
        throw error
      },
    )
  }
}

const describe = ({ method, url }: Outgoing): AttachRequest => ({ method, url })

/** A step-up may be a sign-in of its own: the request goes on with it only where both are known to be one user's. */
function isSameUser({ record: next }: Held, { record: last }: Held): boolean {
  if (next.id === last.id) return true
  const [one, other] = [next, last].map(({ tokens }) => readClaims(tokens.idToken) ?? readClaims(tokens.accessToken))
  return !!one?.sub && one.sub === other?.sub && one.iss === other?.iss
}

/** A query may hold secrets. */
const originAndPath = (url: string) => url.replace(/[?#].*$/, '')

/** A connection is kept by reading what is small and freed by cancelling what is big. */
function discard(response: Response): void {
  const { body } = response
  if (!body) return
  const length = Number(response.headers.get('content-length') ?? Number.NaN)
  const done = length <= smallBodyBytes ? response.arrayBuffer() : body.cancel()
  done.catch(() => undefined)
}
