import type { Attach, AttachRequest } from '../ports/attach.ts'
import { asksForMore, type Challenge, isTokenRejected, tokenChallenge } from '../values/challenge.ts'
import type { Clock } from '../values/clock.ts'
import { isSessionError, toError } from '../values/errors.ts'
import type { Emitter } from '../values/events.ts'
import { isThenable } from '../values/maybe-promise.ts'
import { dispatch, hasHeader, type Outgoing } from '../values/outgoing.ts'
import type { ResourceMatcher } from '../values/resources.ts'
import { isSameUser } from '../values/token-set.ts'
import type { Access } from './access.ts'
import { isFailure } from './flight.ts'
import { followRedirects, isElsewhere } from './redirects.ts'
import type { Held, SessionEvents, StepUpRequest } from './token-manager.ts'

/** Whether an answer means that the token is no good. The response is a clone: its body may be read. A predicate that throws means no. */
export type IsAuthFailure = (
  response: Response,
  request: { readonly method: string; readonly url: string },
) => boolean | Promise<boolean>

export interface ExchangeOptions {
  readonly fetch: typeof fetch
  readonly attach: Attach
  readonly clock: Clock
  readonly emitter: Emitter<SessionEvents>
  readonly minIntervalMs: number
  readonly grant: { readonly renewsAtOnce?: boolean | undefined }
  readonly options: {
    readonly isAuthFailure?: IsAuthFailure
    readonly onStepUp?: (request: StepUpRequest) => boolean | Promise<boolean>
    readonly whenSignedOut?: 'reject' | 'send-anonymously'
    readonly redirects?: 'safe' | 'platform'
  }
}

/** A request on its way: attached, sent, its answer judged, and sent once more where the server refuses the token. */
export interface Exchange {
  /** Waits for a token, then sends. */
  begin(request: Outgoing): Promise<Response>
  /** Sends, if the sign-in is still the one that the request belongs to. */
  send(request: Outgoing, held: Held): Promise<Response>
  /** What to do about an answer; each reason to send again counts once per request. */
  decide(request: Outgoing, held: Held, response: Response): Promise<Response>
}

const smallBodyBytes = 16_384

export function createExchange(session: ExchangeOptions, access: Access, isResource: ResourceMatcher): Exchange {
  const { fetch: raw, attach, clock, emitter, options } = session
  const { manager } = access
  const isAnyAnswerAsked = !!options.isAuthFailure || !!attach.retry
  let isRedirectTold = false

  function tellRedirects(): void {
    if (!isRedirectTold) emitter.emit('degraded', { what: 'redirects' })
    isRedirectTold = true
  }

  async function begin(request: Outgoing): Promise<Response> {
    let held: Held
    try {
      held = await access.get(request)
    } catch (error) {
      const isOut = isSessionError(error) && error.code === 'signed_out'
      if (isOut && options.whenSignedOut === 'send-anonymously') return dispatch(raw, request, undefined)
      throw error
    }
    return send(request, held)
  }

  function send(request: Outgoing, held: Held): Promise<Response> {
    const { id, tokens } = held.record
    if (manager.held?.record.id !== id) return giveUp()
    const headers = attach(describe(request), tokens)
    if (!isThenable(headers)) return sendWith(request, held, headers)
    return headers.then(value => (manager.held?.record.id === id ? sendWith(request, held, value) : giveUp()))
  }

  function sendWith(request: Outgoing, held: Held, headers: Record<string, string>): Promise<Response> {
    let isGuarded = false
    for (const name in headers) {
      if (name === 'Authorization') continue
      // The caller's own credential wins, and its 401 is the caller's.
      if (hasHeader(request.headers, name)) return dispatch(raw, request, undefined)
      isGuarded ||= name.toLowerCase() !== 'authorization' && options.redirects !== 'platform'
    }
    const sent = isGuarded ? sendGuarded(request, held, headers) : dispatch(raw, request, headers)
    const reported = emitter.has('request') ? report(request, sent) : sent
    return reported.then(response =>
      response.status >= 400 || isAnyAnswerAsked ? decide(request, held, response) : response,
    )
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

  async function decide(request: Outgoing, held: Held, response: Response): Promise<Response> {
    // A redirect led out of the resources: the answer is somebody else's, and says nothing about the token.
    if (response.url && response.url !== request.url && !isResource(response.url)) return response
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
      // A step-up may be a sign-in of its own: the request goes on with it only where both are known to be one user's.
      const isOurs = next && (next.record.id === held.record.id || isSameUser(next.record.tokens, held.record.tokens))
      if (!isOurs) return giveUp(response)
      discard(response)
      return send(request, next)
    }
    const isRejected =
      !request.isReplaced &&
      (options.isAuthFailure
        ? await askApp(options.isAuthFailure, request, response)
        : isTokenRejected(response, refusal))
    return isRejected ? replace(request, held, response) : response
  }

  /** The server refused the token: send again with another, or say why there is none. */
  async function replace(request: Outgoing, held: Held, response: Response): Promise<Response> {
    const { id, tokens } = held.record
    const current = manager.held
    if (current?.record.id !== id) return giveUp(response)
    const isStale = current.record.tokens.accessToken !== tokens.accessToken
    if (!isStale || manager.remainingMs() <= 0) {
      if (!isStale && current.record.refused) {
        manager.end('refused')
        return giveUp(response)
      }
      const isYoung =
        !session.grant.renewsAtOnce && manager.remainingMs() > 0 && manager.ageMs() < session.minIntervalMs
      if (isYoung || (request.isExpired && !isStale) || !manager.canRenew(current.record.tokens)) {
        return response
      }
      // A stream can't be sent again: the answer is the answer, and the next call has a new token.
      const outcome = access.replace(current, request.signal, true)
      if (request.isOneShot) {
        await outcome.catch(() => undefined)
        return response
      }
      const result = await outcome
      if (manager.held?.record.id !== id) return giveUp(response)
      if (isFailure(result)) {
        if (manager.held.record.refused) manager.end('refused')
        throw toError(result, response)
      }
    } else if (request.isOneShot) return response
    const next = manager.held
    if (next?.record.id !== id) return giveUp(response)
    request.isReplaced = true
    discard(response)
    return send(request, next)
  }

  /** The sign-in that the request belongs to is over. */
  const giveUp = (response?: Response): Promise<never> => Promise.reject(manager.signedOutError(response))

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
    const { method, url, sends: attempt } = request
    const startedAtMs = clock.now()
    const started = clock.monotonic()
    const tell = (status?: number) =>
      emitter.emit('request', {
        method,
        url: originAndPath(url),
        attempt,
        startedAtMs,
        durationMs: clock.monotonic() - started,
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

  return { begin, send, decide }
}

const describe = ({ method, url }: Outgoing): AttachRequest => ({ method, url })

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
