import { bearer } from '../attach/bearer.ts'
import { type Access, abortable } from '../engine/access.ts'
import { isFailure } from '../engine/flight.ts'
import type { AllEvents, SessionState } from '../engine/token-manager.ts'
import type { Grant, GrantContext, SignInResponse } from '../ports/grant.ts'
import { systemClock } from '../values/clock.ts'
import { abortReason, SessionError, toError } from '../values/errors.ts'
import { Emitter } from '../values/events.ts'
import { chain, isThenable } from '../values/maybe-promise.ts'
import { createResourceMatcher, type ResourceMatcher } from '../values/resources.ts'
import { readTokenResponse, type TokenSet } from '../values/token-set.ts'
import { boundToKey } from './bound-to-key.ts'
import type { Session, SessionBase, SessionCalls, SessionOptions } from './options.ts'
import { createManyUsersWarning } from './shared-session.ts'
import { signInError } from './sign-in-error.ts'
import { type Core, numbersOf, wire } from './wiring.ts'

const serverState: SessionState = { status: 'starting' }

const cancelled = () =>
  new SessionError('sign_in_cancelled', 'A later signIn, adopt or signOut took the place of this sign-in.')

/**
 * Makes a session. It touches no global and does no I/O: the first `state`, `subscribe`, `ready` or call starts it.
 * @throws SessionError `misconfigured`, saying what to write instead
 */
export function createSession<SignIn = never>(options: SessionOptions<SignIn>): Session<SignIn> {
  const isResource = createResourceMatcher(options.resources)
  const given: Grant<SignIn> = typeof options.grant === 'function' ? { renew: options.grant } : options.grant
  const { clock = systemClock, fetch: ownFetch } = options
  const key = boundToKey(given, options.attach ?? given.attach ?? bearer(), ({ jkt }) => {
    const { manager } = start()
    if (manager.held?.record.tokens.jkt === jkt) manager.end('key_lost')
    return manager.signedOutError()
  })
  const { grant, attach } = key
  const { minIntervalMs } = numbersOf(options.renewal)
  const emitter = new Emitter<AllEvents>()
  const raw: typeof fetch = ownFetch
    ? (input, init) => ownFetch(input, init)
    : (input, init) => globalThis.fetch(input, init)
  const contextOf = (signal: AbortSignal): GrantContext => ({
    fetch: raw,
    signal,
    nowMs: () => clock.now(),
    attach,
    minIntervalMs,
  })
  let core: Core | undefined
  let isDisposed = false
  let isInGrant = false
  let grantSignal: AbortSignal | undefined
  // What a later signIn, adopt or signOut supersedes.
  let turn = 0
  let cancelSignIn: (() => void) | undefined
  let completing: { answer: string; result: Promise<{ appState?: unknown } | undefined> } | undefined
  const warnOfManyUsers = createManyUsersWarning()
  // Sign-ins that ended by signOut({ revoke: false }).
  const unrevoked = new Set<string>()

  /** Runs a grant so that its own calls of the session can be told. */
  function guard<T>(run: () => T, signal: AbortSignal): T {
    isInGrant = true
    grantSignal = signal
    try {
      return run()
    } finally {
      isInGrant = false
    }
  }

  function assertUsable(signal?: AbortSignal | null): void {
    if (isDisposed) throw new SessionError('disposed', 'The session was disposed. Create another.')
    if (isInGrant || (signal && signal === grantSignal)) {
      throw new SessionError(
        'reentrant',
        'A grant called its own session, which waits for it. Use the fetch that the grant gets in its context.',
      )
    }
  }

  /** The first use starts; a start that failed is tried again by calls, not by looking at the state. */
  function start(): Core {
    if (core) return core
    core = wire({
      options: options as unknown as SessionOptions<never>,
      grant: grant as Grant<never>,
      attach,
      clock,
      emitter,
      fetch: raw,
      isResource,
      contextOf,
      guard,
      assertUsable,
      revokeLate(id, tokens) {
        if (core?.manager.isSignedOut(id) && !unrevoked.has(id)) void revoke(tokens)
      },
    })
    const { identity, manager } = core
    void chain(identity.start(), () => {
      const { held } = manager
      // Told to whoever calls; what cannot be known now is no loss.
      if (held?.record.tokens.jkt) key.check(held.record.tokens).catch(() => undefined)
    })
    return core
  }

  /** The session is gone already; a server that is not there changes nothing about it. */
  async function revoke(tokens: TokenSet): Promise<void> {
    await Promise.resolve(grant.revoke?.(tokens, contextOf(new AbortController().signal))).catch(() => undefined)
  }

  function supersede(): number {
    cancelSignIn?.()
    cancelSignIn = undefined
    return ++turn
  }

  /**
   * Obtains the tokens of a sign-in and begins it. A failed one changes nothing. `undefined`: there was nothing to obtain.
   * Life counts from the last request that was sent for it: a human may take minutes before that.
   */
  async function obtain(
    run: (context: GrantContext) => Promise<SignInResponse | undefined>,
    signal: AbortSignal | undefined,
  ): Promise<{ appState?: unknown } | undefined> {
    if (signal?.aborted) throw abortReason(signal)
    start()
    const mine = supersede()
    const abort = new AbortController()
    const superseded = new Promise<never>((_, reject) => {
      cancelSignIn = () => {
        reject(cancelled())
        abort.abort()
      }
    })
    signal?.addEventListener('abort', () => abort.abort(), { once: true })
    let bornAtMs = clock.now()
    let bornMonotonicMs = clock.monotonic()
    const timed: typeof fetch = (input, init) => {
      bornAtMs = clock.now()
      bornMonotonicMs = clock.monotonic()
      return raw(input, init)
    }
    let response: SignInResponse | undefined
    let tokens: TokenSet
    try {
      const call = (async () => run({ ...contextOf(abort.signal), fetch: timed }))()
      response = await abortable(Promise.race([call, superseded]), signal)
      if (!response) return undefined
      tokens = readTokenResponse(response, bornAtMs)
    } catch (error) {
      if (signal?.aborted) throw abortReason(signal)
      throw signInError(error)
    }
    if (mine !== turn) throw cancelled()
    cancelSignIn = undefined
    await begin(tokens, bornAtMs, bornMonotonicMs)
    return 'appState' in response ? { appState: response.appState } : {}
  }

  async function begin(tokens: TokenSet, bornAtMs: number, bornMonotonicMs: number | undefined): Promise<void> {
    const { identity, manager } = start()
    if (!options.storage) warnOfManyUsers(manager.held?.record.tokens, tokens)
    await identity.begin(tokens, bornAtMs, bornMonotonicMs)
  }

  async function signIn(input: SignIn): Promise<{ appState?: unknown }> {
    assertUsable()
    if (!grant.signIn) {
      throw new SessionError('misconfigured', 'This grant has no signIn. Call session.adopt() with tokens.')
    }
    const { signal } = (input ?? {}) as { signal?: AbortSignal }
    return (await obtain(async context => grant.signIn?.(input, context), signal)) ?? {}
  }

  /** What a session and its views do alike, each with a token of its own. */
  function callsOf(part: () => { access: Access; fetch: typeof fetch }, matcher: ResourceMatcher): SessionCalls {
    return {
      fetch: ((input: string | URL | Request, init: RequestInit | undefined = undefined) =>
        part().fetch(input, init)) as typeof fetch,
      async getAccessToken(request = {}) {
        const held = await part().access.get(request)
        return held.record.tokens.accessToken
      },
      async authorizationHeaders(url, { method = 'GET', signal } = {}) {
        if (!matcher(String(url))) return {}
        const held = await part().access.get({ signal })
        return attach({ method, url: String(url) }, held.record.tokens)
      },
      async renew({ signal } = {}) {
        const { access } = part()
        const outcome = await access.replace(await access.open(signal), signal)
        if (isFailure(outcome)) throw toError(outcome)
        return outcome
      },
    }
  }

  function dispose(): void {
    isDisposed = true
    cancelSignIn?.()
    core?.stop()
  }

  const session: SessionBase & { signIn: typeof signIn } = {
    get ready() {
      const { manager } = start()
      if (manager.status !== 'starting') return Promise.resolve()
      return new Promise<void>(resolve => {
        const stop = manager.subscribe(() => {
          if (manager.status === 'starting') return
          stop()
          resolve()
        })
      })
    },
    ...callsOf(start, isResource),
    get state() {
      return start().manager.state
    },
    serverState,
    signIn,
    async completeSignIn(url) {
      assertUsable()
      if (!grant.complete) {
        throw new SessionError(
          'misconfigured',
          'This grant’s signIn does not leave the page: there is nothing to complete.',
        )
      }
      const address = url ?? globalThis.location?.href
      const answer = grant.answerIn ? grant.answerIn(address) : address
      // What is no answer takes no other sign-in's place; calls for one answer (React's StrictMode) share its result.
      if (answer === undefined) return undefined
      if (completing?.answer === answer) return completing.result
      const result = obtain(async context => grant.complete?.(address, context), undefined).finally(() => {
        if (completing?.result === result) completing = undefined
      })
      completing = { answer, result }
      return result
    },
    async adopt(response, { obtainedAtMs } = {}) {
      assertUsable()
      const bornAtMs = obtainedAtMs ?? clock.now()
      const bound = key.bind(response)
      const tokens = readTokenResponse(isThenable(bound) ? await bound : bound, bornAtMs)
      start()
      supersede()
      await begin(tokens, bornAtMs, obtainedAtMs === undefined ? clock.monotonic() : undefined)
    },
    for(target) {
      const matcher = target.resource ? createResourceMatcher(target.resource) : isResource
      const { completeSignIn, signOut, subscribe, on } = session
      return {
        get ready() {
          return session.ready
        },
        get state() {
          return session.state
        },
        serverState,
        ...callsOf(() => start().view(target), matcher),
        completeSignIn,
        signOut,
        subscribe,
        on,
        for: session.for,
      }
    },
    async signOut({ revoke: isRevoking = true, endSession } = {}) {
      assertUsable()
      const { identity, manager } = start()
      supersede()
      const id = manager.held?.record.id
      if (!isRevoking && id) unrevoked.add(id)
      const tokens = await identity.end()
      if (isRevoking && tokens) void revoke(tokens)
      if (endSession && tokens) await grant.endSession?.(tokens, endSession, contextOf(new AbortController().signal))
    },
    subscribe: listener => start().manager.subscribe(listener),
    on: (type, listener) => emitter.on(type, listener),
    dispose,
    [Symbol.dispose ?? Symbol.for('Symbol.dispose')]: dispose,
  } as SessionBase & { signIn: typeof signIn }
  return session as Session<SignIn>
}
