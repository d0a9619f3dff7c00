import { abortable } from '../engine/access.ts'
import type { Identity } from '../engine/identity.ts'
import type { TokenManager } from '../engine/token-manager.ts'
import type { EndSessionOptions, Grant, GrantContext, SignInResponse } from '../ports/grant.ts'
import type { Clock } from '../values/clock.ts'
import { abortReason, SessionError } from '../values/errors.ts'
import { isThenable } from '../values/maybe-promise.ts'
import { readTokenResponse, type TokenResponse, type TokenSet } from '../values/token-set.ts'
import type { BoundToKey } from './bound-to-key.ts'
import { warnsOfManyUsers } from './shared-session.ts'
import { signInError } from './sign-in-error.ts'

interface SignInOptions {
  readonly options: { readonly storage?: unknown }
  readonly grant: Grant<never>
  readonly binding: BoundToKey<never> | undefined
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
export class SignIns {
  private readonly session: SignInOptions
  private turn = 0
  private cancelOwn: (() => void) | undefined
  private completing: { readonly answer: string; readonly result: Promise<Result> } | undefined
  private hasWarned = false
  // Ended by signOut({ revoke: false }).
  private readonly unrevoked = new Set<string>()

  constructor(session: SignInOptions) {
    this.session = session
  }

  async signIn(input: never): Promise<{ appState?: unknown }> {
    const { grant } = this.session
    this.session.assertUsable()
    if (!grant.signIn) {
      throw new SessionError('misconfigured', 'This grant has no signIn. Call session.adopt() with tokens.')
    }
    const { signal } = (input ?? {}) as { signal?: AbortSignal }
    return (await this.obtain(async context => grant.signIn?.(input, context), signal)) ?? {}
  }

  async complete(url?: string): Promise<Result> {
    const { grant } = this.session
    this.session.assertUsable()
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
    if (this.completing?.answer === answer) return this.completing.result
    const result = this.obtain(async context => grant.complete?.(address, context), undefined).finally(() => {
      if (this.completing?.result === result) this.completing = undefined
    })
    this.completing = { answer, result }
    return result
  }

  async adopt(response: TokenResponse, { obtainedAtMs }: { obtainedAtMs?: number } = {}): Promise<void> {
    const { binding, clock } = this.session
    this.session.assertUsable()
    const bornAtMs = obtainedAtMs ?? clock.now()
    const bound = binding ? binding.bind(response) : response
    const tokens = readTokenResponse(isThenable(bound) ? await bound : bound, bornAtMs)
    this.session.start()
    this.supersede()
    await this.begin(tokens, bornAtMs, obtainedAtMs === undefined ? clock.monotonic() : undefined)
  }

  async signOut({ revoke: isRevoking = true, endSession }: SignOutOptions = {}): Promise<void> {
    const { session } = this
    session.assertUsable()
    const { identity, manager } = session.start()
    this.supersede()
    const id = manager.held?.record.id
    if (!isRevoking && id) this.unrevoked.add(id)
    const tokens = await identity.end()
    if (isRevoking && tokens) void this.revoke(tokens)
    if (endSession && tokens) {
      await session.grant.endSession?.(tokens, endSession, session.contextOf(new AbortController().signal))
    }
  }

  /** What is under way is not waited for any more. */
  cancel(): void {
    this.cancelOwn?.()
  }

  /** Hands a pair that came too late to the grant. */
  revokeLate(id: string, tokens: TokenSet): void {
    if (this.session.start().manager.isSignedOut(id) && !this.unrevoked.has(id)) void this.revoke(tokens)
  }

  /** The session is gone already; a server that is not there changes nothing about it. */
  private async revoke(tokens: TokenSet): Promise<void> {
    const { grant } = this.session
    const context = this.session.contextOf(new AbortController().signal)
    await Promise.resolve(grant.revoke?.(tokens, context)).catch(() => undefined)
  }

  private supersede(): number {
    this.cancel()
    this.cancelOwn = undefined
    return ++this.turn
  }

  /**
   * Obtains the tokens of a sign-in and begins it. A failed one changes nothing. `undefined`: there was nothing to obtain.
   * Life counts from the last request that was sent for it: a human may take minutes before that.
   */
  private async obtain(
    run: (context: GrantContext) => Promise<SignInResponse | undefined>,
    signal: AbortSignal | undefined,
  ): Promise<Result> {
    const { session } = this
    const { clock, fetch: raw } = session
    if (signal?.aborted) throw abortReason(signal)
    session.start()
    const mine = this.supersede()
    const abort = new AbortController()
    const superseded = new Promise<never>((_, reject) => {
      this.cancelOwn = () => {
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
      const call = (async () => run({ ...session.contextOf(abort.signal), fetch: timed }))()
      response = await abortable(Promise.race([call, superseded]), signal)
      if (!response) return undefined
      tokens = readTokenResponse(response, bornAtMs)
    } catch (error) {
      if (signal?.aborted) throw abortReason(signal)
      throw signInError(error)
    }
    if (mine !== this.turn) throw cancelled()
    this.cancelOwn = undefined
    await this.begin(tokens, bornAtMs, bornMonotonicMs)
    return 'appState' in response ? { appState: response.appState } : {}
  }

  private async begin(tokens: TokenSet, bornAtMs: number, bornMonotonicMs: number | undefined): Promise<void> {
    const { identity, manager } = this.session.start()
    if (!this.session.options.storage) {
      this.hasWarned ||= warnsOfManyUsers(manager.held?.record.tokens, tokens)
    }
    await identity.begin(tokens, bornAtMs, bornMonotonicMs)
  }
}
