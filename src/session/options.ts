import type { IsAuthFailure } from '../engine/exchange.ts'
import type { RenewalNumbers } from '../engine/renewal.ts'
import type { SessionEvents, SessionState, StepUpRequest } from '../engine/token-manager.ts'
import type { Attach } from '../ports/attach.ts'
import type { Channel } from '../ports/channel.ts'
import type { EndSessionOptions, Grant, GrantFunction } from '../ports/grant.ts'
import type { Lock } from '../ports/lock.ts'
import type { TokenStorage } from '../ports/token-storage.ts'
import type { Wake } from '../ports/wake.ts'
import type { Clock } from '../values/clock.ts'
import type { Resources } from '../values/resources.ts'
import type { TokenResponse } from '../values/token-set.ts'

export type StorageLike = TokenStorage | Storage

/** The options of {@link createSession}. Times are milliseconds. */
export interface SessionOptions<SignIn> {
  /** What may receive the token, nothing else ever does: origins or URL prefixes (https, or loopback), or a predicate. */
  resources: Resources
  /** How tokens are obtained, renewed and revoked; a function renews. */
  grant: Grant<SignIn> | GrantFunction
  /** Where the record lives. @default memoryStorage() */
  storage?: StorageLike | (() => StorageLike)
  /** @default the storage's own, else `navigator.locks`, else a lock of this realm */
  lock?: Lock
  /** Belongs to the session, which closes it. @default a BroadcastChannel where others can hold the session */
  channel?: Channel
  /** @default bearer() */
  attach?: Attach
  /** The fetch underneath. @default globalThis.fetch, looked up at each call */
  fetch?: typeof fetch
  /** Where time comes from, for tests and for hosts with a better one. @default Date.now() and performance.now() */
  clock?: Clock
  /** Hints that the app woke up or the network is back. @default the document's events */
  wake?: Wake | readonly Wake[]
  /** Names the session: several side by side, one per user in a server. @default the hosts of the resources */
  name?: string
  /** The times of a renewal, in milliseconds; what is no number of at least 0 counts as not given. */
  renewal?: Partial<RenewalNumbers> & {
    /** Whether an error of the grant is a definitive "no" about the refresh token. @default OAuth's `invalid_grant`, and `refused()` */
    isRefused?: (error: unknown) => boolean
  }
  /** Whether an answer means that the token is no good. @default a 401, refined by WWW-Authenticate (RFC 6750 §3.1) */
  isAuthFailure?: IsAuthFailure
  /** The resource asks for more (403 insufficient_scope, RFC 9470): resolve with true once there is a better token. */
  onStepUp?: (request: StepUpRequest) => boolean | Promise<boolean>
  /** What `fetch` does where nobody is signed in: reject `signed_out`, or send without a token. @default 'reject' */
  whenSignedOut?: 'reject' | 'send-anonymously'
  /** Renews by a timer while the document is visible (or there is none), not only on use. @default false */
  keepFresh?: boolean
  /** 'safe' never lets a credential other than Authorization follow a redirect. @default 'safe' */
  redirects?: 'safe' | 'platform'
}

/** What is done with a token. */
export interface SessionCalls {
  /** A drop-in fetch, bound. Rejects with a {@link SessionError} where no token can be had; its `challenge` is the 401, if there was one. */
  readonly fetch: typeof fetch
  /**
   * The access token, renewed where it ends within `minValidityMs`. For WebSocket, SSE, gRPC: ask at each connect. Never loops over a life
   * shorter than `minValidityMs`.
   * @throws SessionError where no token can be had; the signal's reason
   */
  getAccessToken(options?: { minValidityMs?: number; signal?: AbortSignal }): Promise<string>
  /** What `attach` sets, for clients that are no fetch; `{}` outside the resources. @throws as `getAccessToken` */
  authorizationHeaders(
    url: string | URL,
    options?: { method?: string; signal?: AbortSignal },
  ): Promise<Record<string, string>>
  /** Renews now, or joins a renewal in flight; 'adopted': another context did. @throws SessionError, the signal's reason */
  renew(options?: { signal?: AbortSignal }): Promise<{ how: 'renewed' | 'adopted' }>
}

/** A part of a session whose access token is for one resource and scope only; it shares the session's refresh token and state. */
export type SessionView = Omit<SessionBase, 'adopt' | 'dispose' | typeof Symbol.dispose>

export interface SessionBase extends SessionCalls {
  /** Resolves once the status left 'starting'. Never rejects. */
  readonly ready: Promise<void>
  /** The same object until something changes. Looking at it starts the session. */
  readonly state: SessionState
  /** A constant, for the server snapshot of `useSyncExternalStore`. */
  readonly serverState: SessionState
  /**
   * For grants whose signIn leaves the page: takes the answer at the redirect URI. Resolves with the app's own state, or with `undefined`
   * where the URL is no answer. @default the location
   */
  completeSignIn(url?: string): Promise<{ appState?: unknown } | undefined>
  /**
   * Takes over tokens obtained elsewhere (RFC 6749 §5.1 shape); `obtainedAtMs` is when they were asked for. Resolves after the write, or its
   * failure, which `storage-failed` tells.
   * @throws SessionError `invalid_token_response`, `disposed`
   */
  adopt(response: TokenResponse, options?: { obtainedAtMs?: number }): Promise<void>
  /**
   * A view with an access token for that resource and scope only (RFC 8707, scope narrowing by RFC 6749 §6). Views of equal targets share
   * one token. Where the server gives none: `token_refused`, for that view alone; some servers spend the refresh token on such a refusal.
   */
  for(target: { resource?: string; scope?: string }): SessionView
  /**
   * Signed out in the caller's tick; resolves after the local write, whatever the network does. `revoke: false` leaves the tokens valid at
   * the server (RFC 7009 is not spoken); `endSession` ends the user's session there as well, where the grant can (OpenID RP-Initiated Logout).
   * @default { revoke: true }
   */
  signOut(options?: { revoke?: boolean; endSession?: EndSessionOptions }): Promise<void>
  /** Runs at each change of `state`; returns how to stop. Bound, as is `on`: fits `useSyncExternalStore`. */
  subscribe(listener: () => void): () => void
  /** Runs at each event of that type; returns how to stop. A listener that throws or hangs changes nothing. */
  on<Type extends keyof SessionEvents>(type: Type, listener: (payload: SessionEvents[Type]) => unknown): () => void
  /** Repeatable. A renewal under way still commits; later calls reject `disposed`. */
  dispose(): void
  [Symbol.dispose](): void
}

/** A session; `signIn` is there where the grant has one, typed by it. */
export type Session<SignIn = never> = SessionBase &
  ([SignIn] extends [never]
    ? unknown
    : {
        /** A later signIn, adopt or signOut supersedes it (`sign_in_cancelled`). A failed one changes nothing. */
        signIn(input: SignIn): Promise<{ appState?: unknown }>
      })
