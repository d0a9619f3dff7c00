import type { Attach } from '../ports/attach.ts'
import { isSessionError } from '../values/errors.ts'
import { dispatch, isPlain, type Outgoing, release, takeBack, takeOver, withAuthorization } from '../values/outgoing.ts'
import type { ResourceMatcher } from '../values/resources.ts'
import type { TokenSet } from '../values/token-set.ts'
import type { Access } from './access.ts'
import { createExchange, type Exchange, type ExchangeOptions } from './exchange.ts'
import type { Held } from './token-manager.ts'

interface AuthFetchOptions extends ExchangeOptions {
  assertUsable(signal: AbortSignal | null | undefined): void
}

/**
 * The fetch contract: attach, send, and where the server refuses the token, replace it and send once more.
 * A request belongs to the sign-in it was first sent under and is never sent for another.
 */
export class AuthFetch {
  private readonly session: AuthFetchOptions
  private readonly access: Access
  private readonly isResource: ResourceMatcher
  private readonly authorization: Attach['authorization']
  // What the token at hand is sent as.
  private credential = ''
  private credited: TokenSet | undefined
  private ownExchange: Exchange | undefined

  constructor(session: AuthFetchOptions, access: Access, isResource: ResourceMatcher) {
    const { attach, options } = session
    this.session = session
    this.access = access
    this.isResource = isResource
    this.authorization = options.isAuthFailure || attach.retry ? undefined : attach.authorization
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
        if (this.authorization && !isRequest && (!init || isPlain(init)) && !session.emitter.has('request')) {
          const sent = this.sendAtOnce(url, init, this.authorization)
          if (sent) return sent
        }
        request = takeOver(isRequest ? input : url, init)
      }
    } catch (error) {
      // What the platform can't parse is the platform's to refuse; what Latchkey refuses says why.
      return isSessionError(error) ? Promise.reject(error) : raw(input, init)
    }
    if (!request) return raw(input, init)
    const answer = this.exchangeOf(request)
    const end = () => release(request)
    if (request.spare) answer.then(end, end)
    return answer
  }

  private exchangeOf(request: Outgoing): Promise<Response> {
    const { session } = this
    // What a Request says of itself is not always where the platform sends it: a subclass may say anything.
    if (request.request && !this.isResource(request.url)) return dispatch(session.fetch, request, undefined)
    try {
      session.assertUsable(request.signal)
      const held = this.access.peek(request.isOneShot)
      return held ? this.exchange.send(request, held) : this.exchange.begin(request)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** The common case, a token at hand and plain data: what a second send would need is made only if the answer asks for it. */
  private sendAtOnce(
    url: string,
    init: RequestInit | undefined,
    authorization: NonNullable<Attach['authorization']>,
  ): Promise<Response> | undefined {
    const { session, access } = this
    const { fetch: raw } = session
    try {
      session.assertUsable(init?.signal)
      const held = access.peek()
      if (!held) return undefined
      const { id, tokens } = held.record
      // A renewal that began behind it has met the end of its sign-in, where the storage is synchronous.
      if (access.manager.held?.record.id !== id) throw access.manager.signedOutError()
      if (this.credited !== tokens) {
        this.credential = authorization(tokens)
        this.credited = tokens
      }
      const sent = withAuthorization(init, this.credential)
      return raw(url, sent).then(judge(this, url, sent, held))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Made when a request is not the common case. */
  get exchange(): Exchange {
    this.ownExchange ??= createExchange(this.session, this.access, this.isResource)
    return this.ownExchange
  }
}

/** Apart, so that the common case keeps nothing but this. */
const judge = (authFetch: AuthFetch, url: string, sent: RequestInit, held: Held) => (response: Response) =>
  response.status < 400 ? response : authFetch.exchange.decide(takeBack(url, sent), held, response)
