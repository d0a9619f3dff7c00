import type { IsAuthFailure } from '../engine/auth-fetch.ts'
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
  clock?: Clock
  /** Hints that the app woke up or the network is back. @default the document's events */
  wake?: Wake | readonly Wake[]
  /** Names the session: several side by side, one per user in a server. @default the hosts of the resources */
  name?: string
  renewal?: Partial<RenewalNumbers> & {
    /** Whether an error of the grant is a definitive "no" about the refresh token. */
    isRefused?: (error: unknown) => boolean
  }
  /** @default a 401, refined by WWW-Authenticate */
  isAuthFailure?: IsAuthFailure
  /** The resource asks for more (403 insufficient_scope, RFC 9470): resolve with true once there is a better token. */
  onStepUp?: (request: StepUpRequest) => boolean | Promise<boolean>
  /** @default 'reject' */
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
  /** For WebSocket, SSE, gRPC: ask at each connect. Never loops over a life shorter than `minValidityMs`. */
  getAccessToken(options?: { minValidityMs?: number; signal?: AbortSignal }): Promise<string>
  /** For clients that are no fetch; `{}` outside the resources. */
  authorizationHeaders(
    url: string | URL,
    options?: { method?: string; signal?: AbortSignal },
  ): Promise<Record<string, string>>
  /** Renews now, or joins a renewal in flight. */
  renew(options?: { signal?: AbortSignal }): Promise<{ how: 'renewed' | 'adopted' }>
}

/** A part of a session whose access token is for one resource and scope only; it shares the session's refresh token and state. */
export type SessionView = Omit<SessionBase, 'adopt' | 'dispose' | typeof Symbol.dispose>

export interface SessionBase extends SessionCalls {
  /** Resolves once the status left 'starting'. Never rejects. */
  readonly ready: Promise<void>
  readonly state: SessionState
  /** A constant, for the server snapshot of `useSyncExternalStore`. */
  readonly serverState: SessionState
  /**
   * For grants whose signIn leaves the page: takes the answer at the redirect URI. Resolves with the app's own state, or with `undefined`
   * where the URL is no answer. @default the location
   */
  completeSignIn(url?: string): Promise<{ appState?: unknown } | undefined>
  /** Takes over tokens obtained elsewhere (RFC 6749 §5.1 shape); `obtainedAtMs` is when they were asked for. */
  adopt(response: TokenResponse, options?: { obtainedAtMs?: number }): Promise<void>
  /**
   * A view with an access token for that resource and scope only (RFC 8707, scope narrowing by RFC 6749 §6). Views of equal targets share
   * one token. Where the server gives none: `token_refused`, for that view alone; some servers spend the refresh token on such a refusal.
   */
  for(target: { resource?: string; scope?: string }): SessionView
  /** Signed out in the caller's tick; resolves after the local write, whatever the network does. */
  signOut(options?: { revoke?: boolean; endSession?: EndSessionOptions }): Promise<void>
  subscribe(listener: () => void): () => void
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
