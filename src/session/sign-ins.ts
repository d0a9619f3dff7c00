import { abortable } from '../engine/access.ts'
import type { Identity } from '../engine/identity.ts'
import type { TokenManager } from '../engine/token-manager.ts'
import type { TiedToKey } from '../ports/dpop.ts'
import type { EndSessionOptions, Grant, GrantContext, SignInResponse } from '../ports/grant.ts'
import type { Clock } from '../values/clock.ts'
import { abortReason, SessionError } from '../values/errors.ts'
import { LateMap } from '../values/late-map.ts'
import { isThenable } from '../values/maybe-promise.ts'
import { readTokenResponse, type TokenResponse, type TokenSet } from '../values/token-set.ts'
import { warnsOfManyUsers } from './shared-session.ts'
import { signInError } from './sign-in-error.ts'

interface SignInOptions {
  readonly options: { readonly storage?: unknown }
  readonly grant: Grant<never>
  readonly binding: TiedToKey | undefined
  readonly clock: Clock
  readonly fetch: typeof fetch
  assertUsable(): void
  contextOf(signal: AbortSignal): GrantContext
  start(): { readonly identity: Identity; readonly manager: TokenManager }
}

interface SignOutOptions {
  readonly revoke?: boolean
  readonly endSession?: EndSessionOptions
}

type Result = { appState?: unknown } | undefined

const cancelled = () =>
  new SessionError('sign_in_cancelled', 'A later signIn, adopt or signOut took the place of this sign-in.')

/** The sign-ins and sign-outs that the app asks for; a later one supersedes an earlier one. */
export interface SignIns {
  signIn(input: never): Promise<{ appState?: unknown }>
  complete(url?: string): Promise<Result>
  adopt(response: TokenResponse, options?: { obtainedAtMs?: number }): Promise<void>
  signOut(options?: SignOutOptions): Promise<void>
  /** What is under way is not waited for any more. */
  cancel(): void
  /** Hands a pair that came too late to the grant. */
  revokeLate(id: string, tokens: TokenSet): void
}

export function createSignIns(session: SignInOptions): SignIns {
  const { options, grant, binding, clock, fetch: raw } = session
  let turn = 0
  let cancelOwn: (() => void) | undefined
  let completing: { readonly answer: string; readonly result: Promise<Result> } | undefined
  let hasWarned = false
  // Ended by signOut({ revoke: false }).
  const unrevoked = new LateMap<string, true>()

  async function signIn(input: never): Promise<{ appState?: unknown }> {
    session.assertUsable()
    if (!grant.signIn) {
      throw new SessionError('misconfigured', 'This grant has no signIn. Call session.adopt() with tokens.')
    }
    const { signal } = (input ?? {}) as { signal?: AbortSignal }
    return (await obtain(async context => grant.signIn?.(input, context), signal)) ?? {}
  }

  async function complete(url?: string): Promise<Result> {
    session.assertUsable()
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
  }

  async function adopt(response: TokenResponse, { obtainedAtMs }: { obtainedAtMs?: number } = {}): Promise<void> {
    session.assertUsable()
    const bornAtMs = obtainedAtMs ?? clock.now()
    const bound = binding ? binding.bind(response) : response
    const tokens = readTokenResponse(isThenable(bound) ? await bound : bound, bornAtMs)
    session.start()
    supersede()
    await begin(tokens, bornAtMs, obtainedAtMs === undefined ? clock.monotonic() : undefined)
  }

  async function signOut({ revoke: isRevoking = true, endSession }: SignOutOptions = {}): Promise<void> {
    session.assertUsable()
    const { identity, manager } = session.start()
    supersede()
    const id = manager.held?.record.id
    if (!isRevoking && id) unrevoked.set(id, true)
    const tokens = await identity.end()
    if (isRevoking && tokens) void revoke(tokens)
    if (endSession && tokens) {
      await grant.endSession?.(tokens, endSession, session.contextOf(new AbortController().signal))
    }
  }

  /** The session is gone already; a server that is not there changes nothing about it. */
  async function revoke(tokens: TokenSet): Promise<void> {
    const context = session.contextOf(new AbortController().signal)
    await Promise.resolve(grant.revoke?.(tokens, context)).catch(() => undefined)
  }

  function supersede(): number {
    cancelOwn?.()
    cancelOwn = undefined
    return ++turn
  }

  /**
   * Obtains the tokens of a sign-in and begins it. A failed one changes nothing. `undefined`: there was nothing to obtain.
   * Life counts from the last request that was sent for it: a human may take minutes before that.
   */
  async function obtain(
    run: (context: GrantContext) => Promise<SignInResponse | undefined>,
    signal: AbortSignal | undefined,
  ): Promise<Result> {
    if (signal?.aborted) throw abortReason(signal)
    session.start()
    const mine = supersede()
    const abort = new AbortController()
    const superseded = new Promise<never>((_, reject) => {
      cancelOwn = () => {
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
      const call = run({ ...session.contextOf(abort.signal), fetch: timed })
      response = await abortable(Promise.race([call, superseded]), signal)
      if (!response) return undefined
      tokens = readTokenResponse(response, bornAtMs)
    } catch (error) {
      if (signal?.aborted) throw abortReason(signal)
      throw signInError(error)
    }
    if (mine !== turn) throw cancelled()
    cancelOwn = undefined
    await begin(tokens, bornAtMs, bornMonotonicMs)
    return 'appState' in response ? { appState: response.appState } : {}
  }

  async function begin(tokens: TokenSet, bornAtMs: number, bornMonotonicMs: number | undefined): Promise<void> {
    const { identity, manager } = session.start()
    if (!options.storage && !hasWarned) hasWarned = warnsOfManyUsers(manager.held?.record.tokens, tokens)
    await identity.begin(tokens, bornAtMs, bornMonotonicMs)
  }
  return {
    signIn,
    complete,
    adopt,
    signOut,
    cancel: () => cancelOwn?.(),
    revokeLate(id, tokens) {
      if (session.start().manager.isSignedOut(id) && !unrevoked.has(id)) void revoke(tokens)
    },
  }
}
