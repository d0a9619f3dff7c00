import { bearer } from '../attach/bearer.ts'
import { abortable, createAccess } from '../engine/access.ts'
import { createAuthFetch, type IsAuthFailure } from '../engine/auth-fetch.ts'
import { type Contexts, createContexts } from '../engine/contexts.ts'
import { homeOf, isFailure } from '../engine/flight.ts'
import { createHeadlessSignIn } from '../engine/headless.ts'
import { createIdentity, type Identity } from '../engine/identity.ts'
import { keepFresh } from '../engine/keep-fresh.ts'
import { createRecordStore } from '../engine/record-store.ts'
import { createRenewal, type RenewalNumbers } from '../engine/renewal.ts'
import {
  createTokenManager,
  type SessionEvents,
  type SessionState,
  type StepUpRequest,
  type TokenManager,
} from '../engine/token-manager.ts'
import { createTurns } from '../engine/turn.ts'
import { memoryLock } from '../locks/memory.ts'
import type { Attach } from '../ports/attach.ts'
import type { Channel } from '../ports/channel.ts'
import type { Grant, GrantContext, GrantFunction } from '../ports/grant.ts'
import type { Lock } from '../ports/lock.ts'
import type { TokenStorage } from '../ports/token-storage.ts'
import type { Wake } from '../ports/wake.ts'
import { memoryStorage } from '../storage/memory.ts'
import { anchorOf, isWebStorage, webStorage } from '../storage/web.ts'
import { type Clock, systemClock } from '../values/clock.ts'
import {
  abortReason,
  type Failure,
  isSessionError,
  SessionError,
  type SessionErrorCode,
  toError,
} from '../values/errors.ts'
import { createEmitter } from '../values/events.ts'
import { randomId, type StoredRecord } from '../values/record.ts'
import { createResourceMatcher, type Resources, resourceHosts } from '../values/resources.ts'
import { readTokenResponse, type TokenResponse, type TokenSet } from '../values/token-set.ts'
import { platformWake } from './platform-wake.ts'

type StorageLike = TokenStorage | Storage

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

interface SessionBase {
  /** Resolves once the status left 'starting'. Never rejects. */
  readonly ready: Promise<void>
  /** A drop-in fetch, bound. Rejects with a {@link SessionError} where no token can be had; its `challenge` is the 401, if there was one. */
  readonly fetch: typeof fetch
  readonly state: SessionState
  /** A constant, for the server snapshot of `useSyncExternalStore`. */
  readonly serverState: SessionState
  /** Takes over tokens obtained elsewhere (RFC 6749 §5.1 shape); `obtainedAtMs` is when they were asked for. */
  adopt(response: TokenResponse, options?: { obtainedAtMs?: number }): Promise<void>
  /** For WebSocket, SSE, gRPC: ask at each connect. Never loops over a life shorter than `minValidityMs`. */
  getAccessToken(options?: { minValidityMs?: number; signal?: AbortSignal }): Promise<string>
  /** For clients that are no fetch; `{}` outside the resources. */
  authorizationHeaders(
    url: string | URL,
    options?: { method?: string; signal?: AbortSignal },
  ): Promise<Record<string, string>>
  /** Renews now, or joins a renewal in flight. */
  renew(options?: { signal?: AbortSignal }): Promise<{ how: 'renewed' | 'adopted' }>
  /** Signed out in the caller's tick; resolves after the local write, whatever the network does. */
  signOut(options?: { revoke?: boolean }): Promise<void>
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
        signIn(input: SignIn): Promise<void>
      })

const defaults: RenewalNumbers = {
  aheadMs: 60_000,
  timeoutMs: 30_000,
  lockTimeoutMs: 35_000,
  storageTimeoutMs: 5_000,
  minIntervalMs: 5_000,
}
const serverState: SessionState = { status: 'starting' }

interface Core {
  readonly manager: TokenManager
  readonly identity: Identity
  readonly access: ReturnType<typeof createAccess>
  readonly fetch: typeof fetch
  stop(): void
}

/**
 * Makes a session. It touches no global and does no I/O: the first `state`, `subscribe`, `ready` or call starts it.
 * @throws SessionError `misconfigured`, saying what to write instead
 */
export function createSession<SignIn = never>(options: SessionOptions<SignIn>): Session<SignIn> {
  const isResource = createResourceMatcher(options.resources)
  const grant: Grant<SignIn> = typeof options.grant === 'function' ? { renew: options.grant } : options.grant
  const attach = options.attach ?? bearer()
  const clock = options.clock ?? systemClock
  const emitter = createEmitter<SessionEvents>()
  const { fetch: ownFetch } = options
  const raw: typeof fetch = ownFetch
    ? (input, init) => ownFetch(input, init)
    : (input, init) => globalThis.fetch(input, init)
  let core: Core | undefined
  let isDisposed = false
  let isInGrant = false
  let grantSignal: AbortSignal | undefined
  // What a later signIn, adopt or signOut supersedes.
  let turn = 0
  let cancelSignIn: (() => void) | undefined
  const unrevoked = new Set<string>()

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

  const start = (): Core => {
    core ??= build()
    void core.identity.start()
    return core
  }

  function build(): Core {
    const numbers: RenewalNumbers = { ...defaults, ...definedNumbers(options.renewal) }
    const given = typeof options.storage === 'function' ? options.storage() : options.storage
    const storage: TokenStorage = isWebStorage(given) ? webStorage(given) : (given ?? memoryStorage())
    const key = `latchkey:${options.name ?? resourceHosts(options.resources) ?? 'default'}`
    const scope = storage.scope ?? 'shared'
    const self = randomId()
    const home = homeOf(anchorOf(storage), key)
    const canRenew = (tokens: TokenSet) => !!grant.renew && (grant.canRenew?.(tokens) ?? true)
    const isRenewable = (tokens: TokenSet) => canRenew(tokens) && !manager.held?.record.refused
    const grantName = grant.name ?? 'custom'
    const isInteractive = storage.interactive === true
    const degrade = (what: 'lock' | 'storage' | 'channel') =>
      void Promise.resolve().then(() => emitter.emit('degraded', { what }))

    const manager = createTokenManager({ home, clock, aheadMs: numbers.aheadMs, emitter, canRenew: isRenewable })
    const store = createRecordStore({
      storage,
      key,
      timeoutMs: numbers.storageTimeoutMs,
      isOwn: record =>
        !('grant' in record) || [record.grant, 'custom'].includes(grantName) || record.grant === 'custom',
    })
    const storageFailure = (cause: unknown): Failure => {
      const isReadOnly = storage.readOnly === true || (cause as { code?: unknown } | undefined)?.code === 'read_only'
      return isReadOnly
        ? {
            code: 'read_only',
            message:
              'The storage can not save, so the refresh token is not spent. Renew where the session can be saved.',
            cause,
          }
        : {
            code: 'storage_unavailable',
            message: 'The storage can not be used now. Nothing is lost; try again.',
            cause,
          }
    }

    const platformLock = (): Lock | undefined => {
      const { locks } = (globalThis.navigator ?? {}) as { locks?: Lock | null }
      return typeof locks?.request === 'function' ? locks : undefined
    }
    const storageLock = typeof storage.lock?.request === 'function' ? storage.lock : undefined
    const fallback = memoryLockOf(home)
    const lock = options.lock ?? storageLock ?? (scope === 'context' ? undefined : platformLock())
    if (!lock && scope !== 'context') degrade('lock')
    const isLocked = scope !== 'context' || !!options.lock || !!storageLock
    const takeTurn = createTurns(lock ?? fallback, fallback, () => degrade('lock'))
    const lockName = (id: string) => (isLocked ? (scope === 'tab' ? `${key}:${id}` : key) : undefined)

    const member = { hear: (record: StoredRecord) => void manager.meet(record) }
    home.members.add(member)
    const publish = (record: StoredRecord) => {
      for (const other of home.members) if (other !== member) other.hear(record)
      contexts.tell('signedOut' in record ? 'signed-out' : 'changed', record)
    }

    const contexts: Contexts = createContexts({
      self,
      channel: options.channel ?? (scope === 'context' ? undefined : openChannel(key, () => degrade('channel'))),
      isTab: scope === 'tab',
      manager,
      onNews: () => void identity.read(true),
      onAnswer: record => identity.receive(record),
      onBroken: () => degrade('channel'),
    })
    const identity: Identity = createIdentity({
      grantName,
      clock,
      manager,
      store,
      contexts,
      emitter,
      publish,
      takeTurn,
      lockName,
      lockTimeoutMs: numbers.lockTimeoutMs,
      storageFailure,
    })
    const renewal = createRenewal({
      self,
      grant: grant as Grant<never>,
      fetch: raw,
      clock,
      numbers,
      isRefusedByApp: options.renewal?.isRefused,
      home,
      manager,
      store,
      contexts,
      takeTurn,
      lockName,
      scope,
      isInteractive,
      isReadOnly: storage.readOnly === true,
      emitter,
      guard,
      publish,
      revoke: (id, tokens) => {
        if (manager.isSignedOut(id) && !unrevoked.has(id)) void revoke(tokens)
      },
      reassert: () => identity.reassert(),
      storageFailure,
    })
    const signInHeadless = grant.headless
      ? createHeadlessSignIn({
          grant: grant as Grant<never>,
          fetch: raw,
          clock,
          home,
          manager,
          identity,
          takeTurn,
          lockName: isLocked ? key : undefined,
          timeoutMs: numbers.timeoutMs,
          lockTimeoutMs: numbers.lockTimeoutMs,
          guard,
        })
      : undefined
    const access = createAccess({
      manager,
      identity,
      renewal,
      signInHeadless,
      isInteractive,
      minIntervalMs: numbers.minIntervalMs,
      assertUsable,
    })
    const authFetch = createAuthFetch({
      fetch: raw,
      isResource,
      attach,
      access,
      manager,
      clock,
      emitter,
      minIntervalMs: numbers.minIntervalMs,
      isAuthFailure: options.isAuthFailure,
      onStepUp: options.onStepUp,
      whenSignedOut: options.whenSignedOut ?? 'reject',
      redirects: options.redirects ?? 'safe',
      assertUsable,
    })

    const freshness = options.keepFresh ? keepFresh(manager, access) : undefined
    const onWake = () => {
      access.wake()
      identity.reassert()
      freshness?.check()
    }
    const wakes = [options.wake ?? platformWake].flat()
    const stops = [
      ...wakes.map(wake => wake(onWake)),
      typeof storage.watch === 'function' ? storage.watch(key, () => void identity.read(true)) : undefined,
      typeof storage.onDegraded === 'function' ? storage.onDegraded(({ what }) => degrade(what)) : undefined,
    ]
    return {
      manager,
      identity,
      access,
      fetch: authFetch,
      stop() {
        for (const stop of stops) stop?.()
        freshness?.stop()
        home.members.delete(member)
        contexts.close()
        identity.stop()
      },
    }
  }

  async function revoke(tokens: TokenSet): Promise<void> {
    const abort = new AbortController()
    const context: GrantContext = { fetch: raw, signal: abort.signal, nowMs: () => clock.now(), attach }
    // The session is gone already; a server that is not there changes nothing about it.
    await Promise.resolve(grant.revoke?.(tokens, context)).catch(() => undefined)
  }

  function supersede(): number {
    cancelSignIn?.()
    cancelSignIn = undefined
    return ++turn
  }

  async function signIn(input: SignIn): Promise<void> {
    assertUsable()
    if (!grant.signIn)
      throw new SessionError('misconfigured', 'This grant has no signIn. Call session.adopt() with tokens.')
    const { identity } = start()
    const mine = supersede()
    const abort = new AbortController()
    const cancelled = new Promise<never>((_, reject) => {
      cancelSignIn = () => {
        reject(
          new SessionError('sign_in_cancelled', 'A later signIn, adopt or signOut took the place of this sign-in.'),
        )
        abort.abort()
      }
    })
    cancelled.catch(() => undefined)
    const signal = (input as { signal?: AbortSignal } | undefined)?.signal
    const bornAtMs = clock.now()
    const bornMonotonicMs = clock.monotonic()
    const context: GrantContext = { fetch: raw, signal: abort.signal, nowMs: () => clock.now(), attach }
    let tokens: TokenSet
    try {
      const call = (async () => grant.signIn?.(input, context))()
      tokens = readTokenResponse(await abortable(Promise.race([call, cancelled]), signal), bornAtMs)
    } catch (error) {
      if (signal?.aborted) throw abortReason(signal)
      throw signInError(error)
    }
    if (mine !== turn)
      throw new SessionError('sign_in_cancelled', 'A later signIn, adopt or signOut took the place of this sign-in.')
    cancelSignIn = undefined
    await identity.begin(tokens, bornAtMs, bornMonotonicMs)
  }

  const session: SessionBase & { signIn(input: SignIn): Promise<void> } = {
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
    fetch: ((input: string | URL | Request, init?: RequestInit) =>
      (core ?? start()).fetch(input, init)) as typeof fetch,
    get state() {
      return start().manager.state
    },
    serverState,
    signIn,
    async adopt(response, { obtainedAtMs } = {}) {
      assertUsable()
      const bornAtMs = obtainedAtMs ?? clock.now()
      const tokens = readTokenResponse(response, bornAtMs)
      const { identity } = start()
      supersede()
      await identity.begin(tokens, bornAtMs, obtainedAtMs === undefined ? clock.monotonic() : undefined)
    },
    async getAccessToken({ minValidityMs, signal } = {}) {
      const held = await start().access.get({ minValidityMs, signal })
      return held.record.tokens.accessToken
    },
    async authorizationHeaders(url, { method = 'GET', signal } = {}) {
      if (!isResource(String(url))) return {}
      const held = await start().access.get({ signal })
      return attach({ method, url: String(url) }, held.record.tokens)
    },
    async renew({ signal } = {}) {
      const { access } = start()
      const outcome = await access.replace(await access.open(signal), signal)
      if (isFailure(outcome)) throw toError(outcome)
      return outcome
    },
    async signOut({ revoke: isRevoking = true } = {}) {
      assertUsable()
      const { identity, manager } = start()
      supersede()
      const id = manager.held?.record.id
      if (!isRevoking && id) unrevoked.add(id)
      const tokens = await identity.end()
      if (isRevoking && tokens) void revoke(tokens)
    },
    subscribe(listener) {
      return start().manager.subscribe(listener)
    },
    on: (type, listener) => emitter.on(type, listener),
    dispose,
    [Symbol.dispose ?? Symbol.for('Symbol.dispose')]: dispose,
  } as SessionBase & { signIn(input: SignIn): Promise<void> }

  function dispose(): void {
    if (isDisposed) return
    isDisposed = true
    cancelSignIn?.()
    core?.stop()
  }

  return session as Session<SignIn>
}

function signInError(error: unknown): SessionError {
  const own: readonly SessionErrorCode[] = [
    'sign_in_cancelled',
    'popup_blocked',
    'misconfigured',
    'sign_in_failed',
    'invalid_token_response',
  ]
  if (isSessionError(error) && own.includes(error.code)) return error
  const status = (error as { status?: unknown } | undefined)?.status
  const isFinal =
    (error as { refused?: unknown } | undefined)?.refused === true ||
    (typeof status === 'number' && status < 500 && status !== 429)
  const message = isFinal
    ? 'The authorization server refused the sign-in. Check what the user typed and the client; the cause has its error code.'
    : 'The authorization server could not be reached. Try to sign in again.'
  return new SessionError('sign_in_failed', message, { cause: error, retryable: !isFinal })
}

const memoryLocks = new WeakMap<object, Lock>()
function memoryLockOf(home: object): Lock {
  const lock = memoryLocks.get(home) ?? memoryLock()
  memoryLocks.set(home, lock)
  return lock
}

function openChannel(name: string, onMissing: () => void): Channel | undefined {
  try {
    const channel = new BroadcastChannel(name)
    // Node's channels hold the process; a session never does.
    ;(channel as { unref?(): void }).unref?.()
    return channel as unknown as Channel
  } catch {
    onMissing()
    return undefined
  }
}

const definedNumbers = (numbers: object | undefined): object =>
  Object.fromEntries(Object.entries(numbers ?? {}).filter(([, value]) => typeof value === 'number' && value >= 0))
