import type { Grant, GrantContext } from '../ports/grant.ts'
import type { Clock } from '../values/clock.ts'
import type { Failure } from '../values/errors.ts'
import { within } from '../values/timers.ts'
import { readTokenResponse } from '../values/token-set.ts'
import { createFlight, type Home, lockTimeout, type Outcome } from './flight.ts'
import type { Identity } from './identity.ts'
import { type Announce, createNews, signedOutFailure, type TokenManager } from './token-manager.ts'
import type { TakeTurn } from './turn.ts'
import { judge, type Verdict } from './verdict.ts'

interface HeadlessOptions {
  readonly grant: Grant<never>
  readonly contextOf: (signal: AbortSignal) => GrantContext
  readonly clock: Clock
  readonly home: Home
  readonly manager: TokenManager
  readonly identity: Identity
  readonly takeTurn: TakeTurn
  readonly lockName: (id: string) => string | undefined
  readonly timeoutMs: number
  readonly lockTimeoutMs: number
  readonly guard: <T>(run: () => T, signal: AbortSignal) => T
}

const firstPauseMs = 1000
const longestPauseMs = 60_000
const flightId = 'headless'

/**
 * Signs in where no human is needed (client credentials): under the lock and after reading the record, so that any number
 * of replicas make one call. One failure serves all who wait, and is remembered.
 */
export function createHeadlessSignIn(options: HeadlessOptions): () => Promise<Outcome> {
  const { grant, clock, home, manager, identity, timeoutMs } = options
  let failures = 0
  let lastFailure: (Failure & { retryAtMs: number }) | undefined

  async function signIn(announce: Announce): Promise<Outcome> {
    await identity.read(false, announce)
    if (manager.held) return { how: 'adopted' }
    if (manager.isSignedOutOnPurpose) return signedOutFailure('requested')
    const { epoch } = manager
    const sentAtMs = clock.now()
    const sentMonotonicMs = clock.monotonic()
    const abort = new AbortController()
    try {
      const call = (async () =>
        options.guard(() => grant.signIn?.(undefined as never, options.contextOf(abort.signal)), abort.signal))()
      const response = await within(call, timeoutMs, () => {
        abort.abort()
        throw new Error(`The authorization server did not answer within ${timeoutMs} ms.`)
      })
      const tokens = readTokenResponse(response, sentAtMs)
      if (manager.epoch !== epoch) return signedOutFailure('requested')
      failures = 0
      await identity.begin(tokens, sentAtMs, sentMonotonicMs, announce)
      return { how: 'renewed' }
    } catch (error) {
      return remember(await judge(error, clock.now(), undefined), error)
    }
  }

  function remember(verdict: Verdict, cause: unknown): Failure {
    const pauseMs = Math.min(firstPauseMs * 2 ** failures++, longestPauseMs)
    const isFinal = verdict.what === 'refused' || verdict.isClientError
    const failure: Failure = isFinal
      ? {
          code: 'sign_in_failed',
          message: 'The authorization server refused the sign-in. Check the client and its scope.',
          cause,
        }
      : verdict.failure
    lastFailure = { ...failure, retryAtMs: failure.retryAtMs ?? clock.now() + pauseMs }
    return lastFailure
  }

  return () => {
    if (home.flight?.id === flightId) return home.flight.outcome
    if (lastFailure && clock.now() < lastFailure.retryAtMs) return Promise.resolve(lastFailure)
    // No await between the check and this line.
    const flight = createFlight(home, flightId, '')
    home.flight = flight
    const news = createNews()
    let outcome: Outcome = lockTimeout
    const run = async () => {
      outcome = await signIn(news.announce)
    }
    const name = options.lockName(flightId)
    void (async () => {
      if (name) await options.takeTurn(name, { timeoutMs: options.lockTimeoutMs, leave: flight.ended }, run)
      else await run()
      flight.land()
      news.tell()
      flight.settle(outcome)
    })()
    return flight.outcome
  }
}
