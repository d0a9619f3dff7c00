import { abortable } from '../engine/access.ts'
import type { Identity } from '../engine/identity.ts'
import type { TokenManager } from '../engine/token-manager.ts'
import type { TiedToKey } from '../ports/dpop.ts'
import type { EndSessionOptions, Grant, GrantContext, SignInResponse } from '../ports/grant.ts'
import type { Clock } from '../values/clock.ts'
import { abortReason, SessionError } from '../values/errors.ts'
import { isThenable } from '../values/maybe-promise.ts'
import { readTokenResponse, type TokenResponse, type TokenSet } from '../values/token-set.ts'
import { warnsOfManyUsers } from './shared-session.ts'
import { signInError } from './sign-in-error.ts'

/** What sign-ins are made with and remember; a later one supersedes an earlier one. */
export interface SignInSession {
  readonly options: { readonly storage?: unknown }
  readonly grant: Grant<never>
  readonly binding: TiedToKey | undefined
  readonly clock: Clock
  readonly fetch: typeof fetch
  assertUsable(): void
  contextOf(signal: AbortSignal): GrantContext
  start(): { readonly identity: Identity; readonly manager: TokenManager }
  /** Counts what supersedes. */
  turn: number
  cancelSignIn: (() => void) | undefined
  completing: { readonly answer: string; readonly result: Promise<Result> } | undefined
  /** Sign-ins that ended by signOut({ revoke: false }). */
  unrevoked: Set<string> | undefined
  hasWarned: boolean | undefined
}

interface SignOutOptions {
  readonly revoke?: boolean
  readonly endSession?: EndSessionOptions
}

type Result = { appState?: unknown } | undefined

const cancelled = () =>
  new SessionError('sign_in_cancelled', 'A later signIn, adopt or signOut took the place of this sign-in.')

export async function signIn(session: SignInSession, input: never): Promise<{ appState?: unknown }> {
  const { grant } = session
  session.assertUsable()
  if (!grant.signIn) {
    throw new SessionError('misconfigured', 'This grant has no signIn. Call session.adopt() with tokens.')
  }
  const { signal } = (input ?? {}) as { signal?: AbortSignal }
  return (await obtain(session, async context => grant.signIn?.(input, context), signal)) ?? {}
}

export async function completeSignIn(session: SignInSession, url?: string): Promise<Result> {
  const { grant } = session
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
  if (session.completing?.answer === answer) return session.completing.result
  const result = obtain(session, async context => grant.complete?.(address, context), undefined).finally(() => {
    if (session.completing?.result === result) session.completing = undefined
  })
  session.completing = { answer, result }
  return result
}

export async function adopt(
  session: SignInSession,
  response: TokenResponse,
  { obtainedAtMs }: { obtainedAtMs?: number } = {},
): Promise<void> {
  session.assertUsable()
  const { binding, clock } = session
  const bornAtMs = obtainedAtMs ?? clock.now()
  const bound = binding ? binding.bind(response) : response
  const tokens = readTokenResponse(isThenable(bound) ? await bound : bound, bornAtMs)
  session.start()
  supersede(session)
  await begin(session, tokens, bornAtMs, obtainedAtMs === undefined ? clock.monotonic() : undefined)
}

export async function signOut(
  session: SignInSession,
  { revoke: isRevoking = true, endSession }: SignOutOptions = {},
): Promise<void> {
  session.assertUsable()
  const { identity, manager } = session.start()
  supersede(session)
  const id = manager.held?.record.id
  if (!isRevoking && id) {
    session.unrevoked ??= new Set()
    session.unrevoked.add(id)
  }
  const tokens = await identity.end()
  if (isRevoking && tokens) void revoke(session, tokens)
  if (endSession && tokens) {
    await session.grant.endSession?.(tokens, endSession, session.contextOf(new AbortController().signal))
  }
}

/** The session is gone already; a server that is not there changes nothing about it. */
async function revoke(session: SignInSession, tokens: TokenSet): Promise<void> {
  const context = session.contextOf(new AbortController().signal)
  await (async () => session.grant.revoke?.(tokens, context))().catch(() => undefined)
}

function supersede(session: SignInSession): number {
  session.cancelSignIn?.()
  session.cancelSignIn = undefined
  return ++session.turn
}

/**
 * Obtains the tokens of a sign-in and begins it. A failed one changes nothing. `undefined`: there was nothing to obtain.
 * Life counts from the last request that was sent for it: a human may take minutes before that.
 */
async function obtain(
  session: SignInSession,
  run: (context: GrantContext) => Promise<SignInResponse | undefined>,
  signal: AbortSignal | undefined,
): Promise<Result> {
  const { clock, fetch: raw } = session
  if (signal?.aborted) throw abortReason(signal)
  session.start()
  const mine = supersede(session)
  const abort = new AbortController()
  const superseded = new Promise<never>((_, reject) => {
    session.cancelSignIn = () => {
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
  if (mine !== session.turn) throw cancelled()
  session.cancelSignIn = undefined
  await begin(session, tokens, bornAtMs, bornMonotonicMs)
  return 'appState' in response ? { appState: response.appState } : {}
}

async function begin(
  session: SignInSession,
  tokens: TokenSet,
  bornAtMs: number,
  bornMonotonicMs: number | undefined,
): Promise<void> {
  const { identity, manager } = session.start()
  if (!session.options.storage) session.hasWarned ||= warnsOfManyUsers(manager.held?.record.tokens, tokens)
  await identity.begin(tokens, bornAtMs, bornMonotonicMs)
}

/** Hands a pair that came too late to the grant. */
export function revokeLate(session: SignInSession, id: string, tokens: TokenSet): void {
  if (session.start().manager.isSignedOut(id) && !session.unrevoked?.has(id)) void revoke(session, tokens)
}
