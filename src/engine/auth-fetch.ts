import type { Attach } from '../ports/attach.ts'
import { asksForMore, type Challenge, isTokenRejected, tokenChallenge } from '../values/challenge.ts'
import type { Clock } from '../values/clock.ts'
import { isSessionError, toError } from '../values/errors.ts'
import type { Emitter } from '../values/events.ts'
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
import { claimsOf, type TokenSet } from '../values/token-set.ts'
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
  readonly attach: Attach
  readonly clock: Clock
  readonly emitter: Emitter<SessionEvents>
  readonly minIntervalMs: number
  readonly renewsAtOnce: boolean
  readonly options: {
    readonly isAuthFailure?: IsAuthFailure
    readonly onStepUp?: (request: StepUpRequest) => boolean | Promise<boolean>
    readonly whenSignedOut?: 'reject' | 'send-anonymously'
    readonly redirects?: 'safe' | 'platform'
  }
  assertUsable(signal: AbortSignal | null | undefined): void
}

const smallBodyBytes = 16_384

/**
 * The fetch contract: attach, send, and where the server refuses the token, replace it and send once more.
 * A request belongs to the sign-in it was first sent under and is never sent for another.
 */
export class AuthFetch {
  private readonly session: AuthFetchOptions
  private readonly access: Access
  private readonly manager: TokenManager
  private readonly isResource: ResourceMatcher
  private readonly isAnyAnswerAsked: boolean
  private readonly isSimple: boolean
  private isRedirectTold = false
  // What the token at hand is sent as.
  private credential = ''
  private credited: TokenSet | undefined

  constructor(session: AuthFetchOptions, access: Access, manager: TokenManager, isResource: ResourceMatcher) {
    const { attach, options } = session
    this.session = session
    this.access = access
    this.manager = manager
    this.isResource = isResource
    this.isAnyAnswerAsked = !!options.isAuthFailure || !!attach.retry
    this.isSimple = !!attach.authorization && !this.isAnyAnswerAsked
  }

  fetch(input: string | URL | Request, init: RequestInit | undefined): Promise<Response> {
    const { session, isResource } = this
    const { fetch: raw } = session
    let request: Outgoing | undefined
    try {
      const isRequest = typeof input === 'object' && input !== null && 'headers' in input
      // Read once: what is looked at is what is sent.
      const url = typeof input === 'string' ? input : isRequest ? input.url : `${input as URL}`
      if (isResource(url)) {
        if (this.isSimple && !isRequest && (!init || isPlain(init)) && !session.emitter.has('request')) {
          const sent = this.sendAtOnce(url, init)
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
    if (request.request && !isResource(request.url)) return this.sendAsItIs(request)
    try {
      session.assertUsable(request.signal)
      const held = this.access.peek(request.isOneShot)
      return held ? this.send(request, held) : this.begin(request)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** The common case, a token at hand and plain data: what a second send would need is made only if the answer asks for it. */
  private sendAtOnce(url: string, init: RequestInit | undefined): Promise<Response> | undefined {
    const { session, manager } = this
    const { fetch: raw, attach } = session
    try {
      session.assertUsable(init?.signal)
      const held = this.access.peek()
      if (!held) return undefined
      const { id, tokens } = held.record
      // A renewal that began behind it has met the end of its sign-in, where the storage is synchronous.
      if (manager.held?.record.id !== id) throw manager.signedOutError()
      if (this.credited !== tokens) {
        this.credential = attach.authorization?.(tokens) ?? ''
        this.credited = tokens
      }
      const sent = withAuthorization(init, this.credential)
      return raw(url, sent).then(response =>
        response.status < 400 ? response : this.decide(takeBack(url, sent), held, response),
      )
    } catch (error) {
      return Promise.reject(error)
    }
  }

  private tellRedirects(): void {
    if (!this.isRedirectTold) this.session.emitter.emit('degraded', { what: 'redirects' })
    this.isRedirectTold = true
  }

  /** Waits for a token, then sends. */
  private async begin(request: Outgoing): Promise<Response> {
    detach(request)
    let held: Held
    try {
      held = await this.access.get(request)
    } catch (error) {
      const isOut = isSessionError(error) && error.code === 'signed_out'
      if (isOut && this.session.options.whenSignedOut === 'send-anonymously') return this.sendAsItIs(request)
      release(request)
      throw error
    }
    return this.send(request, held)
  }

  /** Attaches and sends, if the sign-in is still the one that the request belongs to. */
  private send(request: Outgoing, held: Held): Promise<Response> {
    const { id, tokens } = held.record
    if (this.manager.held?.record.id !== id) return this.giveUp(request)
    const headers = this.attach(request, tokens)
    if (!isThenable(headers)) return this.sendWith(request, held, headers)
    return headers.then(value =>
      this.manager.held?.record.id === id ? this.sendWith(request, held, value) : this.giveUp(request),
    )
  }

  private attach({ method, url }: Outgoing, tokens: TokenSet): ReturnType<Attach> {
    const { attach } = this.session
    return attach({ method, url }, tokens)
  }

  private dispatch(request: Outgoing, headers?: Record<string, string>, redirect?: RequestRedirect): Promise<Response> {
    return dispatch(this.session.fetch, request, headers, redirect)
  }

  private sendAsItIs(request: Outgoing): Promise<Response> {
    release(request)
    return this.dispatch(request)
  }

  private sendWith(request: Outgoing, held: Held, headers: Record<string, string>): Promise<Response> {
    let isGuarded = false
    for (const name in headers) {
      if (name === 'Authorization') continue
      // The caller's own credential wins, and its 401 is the caller's.
      if (hasHeader(request.headers, name)) return this.sendAsItIs(request)
      isGuarded ||= name.toLowerCase() !== 'authorization' && this.session.options.redirects !== 'platform'
    }
    const sent = isGuarded ? this.sendGuarded(request, held, headers) : this.dispatch(request, headers)
    const reported = this.session.emitter.has('request') ? this.report(request, sent) : sent
    if (request.spare) reported.catch(() => release(request))
    return reported.then(response => {
      if (response.status >= 400 || this.isAnyAnswerAsked) return this.decide(request, held, response)
      // The common case: nothing to decide.
      if (request.spare) release(request)
      return response
    })
  }

  /** A credential that is not `Authorization`: platforms would carry it wherever a redirect leads. */
  private sendGuarded(request: Outgoing, held: Held, headers: Record<string, string>): Promise<Response> {
    if (request.redirect === 'manual' || request.redirect === 'error') return this.dispatch(request, headers)
    return followRedirects(request, {
      send: async hop => {
        if (hop === request) return this.dispatch(hop, headers, 'manual')
        const attached = this.isResource(hop.url) ? await this.attach(hop, held.record.tokens) : undefined
        return this.dispatch(hop, attached, 'manual')
      },
      discard,
      onIgnored: () => this.tellRedirects(),
    })
  }

  /** What to do about an answer; each reason to send again counts once per request. */
  private async decide(request: Outgoing, held: Held, response: Response): Promise<Response> {
    // A redirect led out of the resources: the answer is somebody else's, and says nothing about the token.
    if (response.url && response.url !== request.url && !this.isResource(response.url)) {
      release(request)
      return response
    }
    // Some platforms (iOS) lose Authorization on a redirect: not another token helps, but the final URL.
    if (response.status === 401 && isElsewhere(request.url, response.url)) this.tellRedirects()
    // Asked about every answer: each may bring what the next request needs (RFC 9449 §8.2).
    const { method, url } = request
    const { session, manager } = this
    const wantsRetry = await session.attach.retry?.(response, { method, url })
    if (wantsRetry && !request.isRetried && !request.isOneShot) {
      request.isRetried = true
      discard(response)
      return this.send(request, held)
    }
    const refusal = response.status === 401 || response.status === 403 ? tokenChallenge(response) : undefined
    if (refusal && asksForMore(refusal) && (await this.isSteppedUp(request, refusal))) {
      const next = manager.held
      if (!next || !isSameUser(next, held)) return this.giveUp(request, response)
      discard(response)
      return this.send(request, next)
    }
    const isRejected =
      !request.isReplaced &&
      (session.options.isAuthFailure
        ? await askApp(session.options.isAuthFailure, request, response)
        : isTokenRejected(response, refusal))
    if (isRejected) return this.replace(request, held, response)
    release(request)
    return response
  }

  /** The server refused the token: send again with another, or say why there is none. */
  private async replace(request: Outgoing, held: Held, response: Response): Promise<Response> {
    const { session, manager } = this
    const { id, tokens } = held.record
    const current = manager.held
    if (current?.record.id !== id) return this.giveUp(request, response)
    const isStale = current.record.tokens.accessToken !== tokens.accessToken
    if (!isStale || manager.remainingMs() <= 0) {
      if (!isStale && current.record.refused) {
        manager.end('refused')
        return this.giveUp(request, response)
      }
      const isYoung = !session.renewsAtOnce && manager.remainingMs() > 0 && manager.ageMs() < session.minIntervalMs
      if (isYoung || (request.isExpired && !isStale) || !manager.canRenew(current.record.tokens)) {
        release(request)
        return response
      }
      // A stream can't be sent again: the answer is the answer, and the next call has a new token.
      const outcome = this.access.replace(current, request.signal, true)
      if (request.isOneShot) {
        await outcome.catch(() => undefined)
        return response
      }
      const result = await outcome
      if (manager.held?.record.id !== id) return this.giveUp(request, response)
      if (isFailure(result)) {
        if (manager.held.record.refused) manager.end('refused')
        release(request)
        throw toError(result, response)
      }
    } else if (request.isOneShot) return response
    const next = manager.held
    if (next?.record.id !== id) return this.giveUp(request, response)
    request.isReplaced = true
    discard(response)
    return this.send(request, next)
  }

  /** The sign-in that the request belongs to is over. */
  private async giveUp(request: Outgoing, response?: Response): Promise<never> {
    release(request)
    throw this.manager.signedOutError(response)
  }

  /** 403 `insufficient_scope` (RFC 6750 §3.1) and 401 `insufficient_user_authentication` (RFC 9470): told, and sent again once the app has stepped up. */
  private async isSteppedUp(request: Outgoing, challenge: Challenge['parameters']): Promise<boolean> {
    const maxAge = Number(challenge.max_age ?? Number.NaN)
    const payload: StepUpRequest = {
      url: originAndPath(request.url),
      ...(challenge.scope && { scope: challenge.scope }),
      ...(challenge.acr_values && { acrValues: challenge.acr_values }),
      ...(maxAge >= 0 && { maxAge }),
    }
    this.session.emitter.emit('insufficient-scope', payload)
    if (request.isOneShot || request.isSteppedUp) return false
    request.isSteppedUp = true
    return (await this.session.options.onStepUp?.(payload)) === true
  }

  private report(request: Outgoing, sent: Promise<Response>): Promise<Response> {
    const { clock, emitter } = this.session
    const attempt = request.sends
    const startedAtMs = clock.now()
    const started = clock.monotonic()
    const tell = (status?: number) =>
      emitter.emit('request', {
        method: request.method,
        url: originAndPath(request.url),
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

/** A step-up may be a sign-in of its own: the request goes on with it only where both are known to be one user's. */
function isSameUser({ record: next }: Held, { record: last }: Held): boolean {
  if (next.id === last.id) return true
  const [one, other] = [next, last].map(({ tokens }) => claimsOf(tokens))
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
