import { bearer } from '../attach/bearer.ts'
import { Access } from '../engine/access.ts'
import { AuthFetch } from '../engine/auth-fetch.ts'
import { type Contexts, createContexts } from '../engine/contexts.ts'
import { type Home, homeOf, type Member, type Outcome } from '../engine/flight.ts'
import { createHeadlessSignIn } from '../engine/headless.ts'
import { createIdentity, type Identity } from '../engine/identity.ts'
import { keepFresh } from '../engine/keep-fresh.ts'
import { RecordStore } from '../engine/record-store.ts'
import { createRenewal, type Renewal, type RenewalNumbers } from '../engine/renewal.ts'
import type { Target } from '../engine/subject.ts'
import { type AllEvents, createTokenManager, type TokenManager } from '../engine/token-manager.ts'
import { createTurns, type TakeTurn } from '../engine/turn.ts'
import { createView } from '../engine/view.ts'
import { memoryLock } from '../locks/memory.ts'
import type { Attach } from '../ports/attach.ts'
import type { Channel } from '../ports/channel.ts'
import type { TiedToKey, TokenBinding } from '../ports/dpop.ts'
import type { Grant, GrantContext } from '../ports/grant.ts'
import type { Lock } from '../ports/lock.ts'
import type { StorageScope, TokenStorage } from '../ports/token-storage.ts'
import { memoryStorage } from '../storage/memory.ts'
import { anchorOf, isWebStorage, webStorage } from '../storage/web.ts'
import { type Clock, systemClock } from '../values/clock.ts'
import { type Failure, SessionError } from '../values/errors.ts'
import { Emitter } from '../values/events.ts'
import { chain, type MaybePromise } from '../values/maybe-promise.ts'
import { isTombstone, randomId, type StoredRecord } from '../values/record.ts'
import { createResourceMatcher, type ResourceMatcher, resourceHosts } from '../values/resources.ts'
import type { TokenSet } from '../values/token-set.ts'
import type { SessionOptions } from './options.ts'
import { platformWake } from './platform-wake.ts'
import { revokeLate, type SignInSession } from './sign-ins.ts'

/** What calls are made with: the session, or a view of it. */
export interface Part {
  readonly access: Access
  readonly authFetch: AuthFetch
}

const defaults: RenewalNumbers = {
  aheadMs: 60_000,
  timeoutMs: 30_000,
  lockTimeoutMs: 35_000,
  storageTimeoutMs: 5_000,
  minIntervalMs: 5_000,
}

/** The channel of a session that no other context can have. */
export const noChannel = {} as Channel

const platformFetch: typeof fetch = (input, init) => globalThis.fetch(input, init)

/**
 * What a session consists of, with its ports as the engine takes them: the one place that knows all parts, and picks the defaults by the
 * storage's scope. A server has one for each user: what a request with a fresh token does not need is made at the first need.
 */
export class Core implements Part, Member, SignInSession {
  readonly options: SessionOptions<never>
  readonly isResource: ResourceMatcher
  readonly grant: Grant<never>
  readonly attach: Attach
  readonly binding: TiedToKey | undefined
  readonly clock: Clock
  readonly fetch: typeof fetch
  readonly emitter: Emitter<AllEvents>
  turn = 0
  declare private isDisposed: boolean | undefined
  declare private isInGrant: boolean | undefined
  declare private grantSignal: AbortSignal | undefined

  // From the start on.
  declare readonly aheadMs: number
  declare readonly timeoutMs: number
  declare readonly lockTimeoutMs: number
  declare readonly storageTimeoutMs: number
  declare readonly minIntervalMs: number
  declare storage: TokenStorage
  declare scope: StorageScope
  declare key: string
  declare home: Home
  declare self: string
  declare channel: Channel | undefined
  declare manager: TokenManager
  declare store: RecordStore
  declare contexts: Contexts
  declare signInHeadless: (() => Promise<Outcome>) | undefined
  declare access: Access
  declare authFetch: AuthFetch
  declare private lock: Lock | undefined
  declare private freshness: ReturnType<typeof keepFresh> | undefined
  declare private stops: readonly ((() => void) | undefined)[] | undefined

  // From the first need on.
  declare private opening: Identity | undefined
  declare private ownIdentity: Identity | undefined
  declare private ownRenewal: Renewal | undefined
  declare private ownTurns: TakeTurn | undefined
  declare cancelSignIn: SignInSession['cancelSignIn']
  declare completing: SignInSession['completing']
  declare unrevoked: Set<string> | undefined
  declare hasWarned: boolean | undefined
  declare private views: Map<string, Part> | undefined

  constructor(options: SessionOptions<never>) {
    const { resources, grant, clock = systemClock, fetch: own } = options
    this.options = options
    this.isResource = createResourceMatcher(resources)
    const given: Grant<never> = typeof grant === 'function' ? { renew: grant } : grant
    const attach = options.attach ?? given.attach ?? bearer()
    this.binding = (attach as Partial<TokenBinding>).tie?.(given, ({ jkt }) => {
      const { manager } = this.start()
      if (manager.held?.record.tokens.jkt === jkt) manager.end('key_lost')
      return manager.signedOutError()
    })
    this.grant = this.binding?.grant ?? given
    this.attach = this.binding?.attach ?? attach
    this.clock = clock
    this.fetch = own ? (input, init) => own(input, init) : platformFetch
    this.emitter = new Emitter()
  }

  /** The first use starts; a start that failed is tried again by calls, not by looking at the state. */
  start(): this {
    if (!this.stops) this.wire()
    return this
  }

  private wire(): void {
    const { options, grant } = this
    Object.assign(this, numbersOf(options.renewal))
    const storage = storageOf(options.storage, () => this.degrade('storage'))
    this.storage = storage
    this.scope = storage.scope ?? 'shared'
    const isAlone = this.scope === 'context'
    this.key = `latchkey:${options.name ?? resourceHosts(options.resources) ?? 'default'}`
    this.home = homeOf(anchorOf(storage), this.key)
    this.self = randomId()

    const given = options.lock ?? (typeof storage.lock?.request === 'function' ? storage.lock : undefined)
    this.lock = given ?? (isAlone ? undefined : platformLock())
    if (!this.lock && !isAlone && !isReactNative()) this.degrade('lock')

    this.home.members = [...this.home.members, this]
    this.manager = createTokenManager(this)
    this.store = new RecordStore(this)
    const channel = options.channel ?? (isAlone ? noChannel : this.openChannel())
    this.channel = channel === noChannel ? undefined : channel
    this.contexts = createContexts(this)
    this.signInHeadless = grant.headless ? createHeadlessSignIn(this) : undefined
    this.access = new Access(this, this.manager)
    this.authFetch = new AuthFetch(this, this.access, this.isResource)
    this.freshness = options.keepFresh ? keepFresh(this.manager, this.access) : undefined
    this.stops = [
      ...[options.wake ?? platformWake].flat().map(wake => wake(() => this.wake())),
      attempt(() => storage.watch?.(this.key, () => void this.identity.read(true))),
      attempt(() => storage.onDegraded?.(({ what }) => this.degrade(what))),
    ]
    void chain(this.open(), () => {
      const tokens = this.manager.held?.record.tokens
      // Told to whoever calls; what cannot be known now is no loss.
      if (tokens?.jkt) this.binding?.check(tokens).catch(() => undefined)
    })
  }

  /** The first read; again after one that failed. It is all that most sessions of a server need of the identity, which goes with it. */
  open(): MaybePromise<void> {
    if (this.manager.status !== 'starting') return undefined
    this.opening ??= this.ownIdentity ?? createIdentity(this)
    return chain(this.opening.start(), () => {
      this.opening = undefined
    })
  }

  /** The part of the session whose token is for this resource and scope; equal ones are one. */
  view(target: Target, isResource: ResourceMatcher): Part {
    const name = JSON.stringify([target.resource, target.scope])
    this.views ??= new Map()
    const known = this.views.get(name)
    if (known) return known
    const access = createView(this, target)
    const view = { access, authFetch: new AuthFetch(this, access, isResource) }
    this.views.set(name, view)
    return view
  }

  dispose(): void {
    this.isDisposed = true
    this.cancelSignIn?.()
    if (!this.stops) return
    for (const stop of this.stops) stop?.()
    this.freshness?.stop()
    this.contexts.close()
    this.ownIdentity?.stop()
    this.home.members = this.home.members.filter(member => member !== this)
  }

  get identity(): Identity {
    this.ownIdentity ??= this.opening ?? createIdentity(this)
    return this.ownIdentity
  }

  get renewal(): Renewal {
    this.ownRenewal ??= createRenewal(this)
    return this.ownRenewal
  }

  get takeTurn(): TakeTurn {
    const { home } = this
    home.lock ??= memoryLock()
    this.ownTurns ??= createTurns(this.lock ?? home.lock, home.lock, () => this.degrade('lock'))
    return this.ownTurns
  }

  /** `undefined` where nobody else can hold the tokens. */
  lockName(id: string): string | undefined {
    if (this.scope === 'context' && !this.lock) return undefined
    return this.scope === 'tab' ? `${this.key}:${id}` : this.key
  }

  get isInteractive(): boolean {
    return this.storage.interactive === true
  }

  get isReadOnly(): boolean {
    return this.storage.readOnly === true
  }

  storageFailure(cause: unknown): Failure {
    return this.isReadOnly || (cause as { code?: unknown } | undefined)?.code === 'read_only'
      ? {
          code: 'read_only',
          message: 'The storage can not save, so the refresh token is not spent. Renew where it can.',
          cause,
        }
      : { code: 'storage_unavailable', message: 'The storage can not be used now. Nothing is lost; try again.', cause }
  }

  get grantName(): string {
    return this.grant.name ?? 'custom'
  }

  isOwn(record: StoredRecord): boolean {
    const { grantName } = this
    return isTombstone(record) || record.grant === grantName || [record.grant, grantName].includes('custom')
  }

  get signInAtStart(): (() => Promise<Outcome>) | undefined {
    return this.grant.headless === 'at-start' ? this.signInHeadless : undefined
  }

  get isRefusedByApp(): ((error: unknown) => boolean) | undefined {
    return this.options.renewal?.isRefused
  }

  canRenew(tokens: TokenSet): boolean {
    const { grant } = this
    return !!grant.renew && grant.canRenew?.(tokens) !== false && !this.manager.held?.record.refused
  }

  contextOf(signal: AbortSignal): GrantContext {
    const { fetch, clock, attach, minIntervalMs } = this
    return { fetch, signal, nowMs: () => clock.now(), attach, minIntervalMs }
  }

  /** Runs a grant so that its own calls of the session can be told. */
  guard<T>(run: () => T, signal: AbortSignal): T {
    this.isInGrant = true
    this.grantSignal = signal
    try {
      return run()
    } finally {
      this.isInGrant = false
    }
  }

  assertUsable(signal?: AbortSignal | null): void {
    if (this.isDisposed) throw new SessionError('disposed', 'The session was disposed. Create another.')
    if (this.isInGrant || (signal && signal === this.grantSignal)) {
      throw new SessionError(
        'reentrant',
        'A grant called its own session, which waits for it. Use the fetch that the grant gets in its context.',
      )
    }
  }

  revokeLate(id: string, tokens: TokenSet): void {
    revokeLate(this, id, tokens)
  }

  reassert(): void {
    this.identity.reassert()
  }

  /** Tells the other sessions of this realm and the other contexts. */
  publish(record: StoredRecord): void {
    for (const other of this.home.members) if (other !== this) other.hear(record)
    this.contexts.tell(isTombstone(record) ? 'signed-out' : 'changed', record)
  }

  hear(record: StoredRecord): void {
    if (!this.isDisposed) this.manager.meet(record)
  }

  degrade(what: 'lock' | 'storage' | 'channel'): void {
    void Promise.resolve().then(() => this.emitter.emit('degraded', { what }))
  }

  private wake(): void {
    this.renewal.wake()
    this.access.wake()
    for (const view of this.views?.values() ?? []) view.access.wake()
    this.identity.reassert()
    this.freshness?.check()
  }

  private openChannel(): Channel | undefined {
    try {
      const channel = new BroadcastChannel(this.key)
      // Node's channels hold the process; a session never does.
      ;(channel as { unref?(): void }).unref?.()
      return channel as unknown as Channel
    } catch {
      if (!isReactNative()) this.degrade('channel')
      return undefined
    }
  }
}

/** What was given, wrapped where it is a platform's; memory where there is none, which is told unless nothing was asked for. */
function storageOf(option: SessionOptions<never>['storage'] = memoryStorage(), onMissing: () => void): TokenStorage {
  let given: TokenStorage | Storage | null | undefined
  try {
    given = typeof option === 'function' ? option() : option
  } catch {
    // The very property throws where storage is blocked.
  }
  if (isWebStorage(given)) return webStorage(given)
  if (typeof given?.getItem === 'function') return given
  onMissing()
  return memoryStorage()
}

/** News are a convenience: a storage that can't give them is used without. */
function attempt(subscribe: () => (() => void) | undefined): (() => void) | undefined {
  try {
    return subscribe()
  } catch {
    return undefined
  }
}

function platformLock(): Lock | undefined {
  const { locks } = (globalThis.navigator ?? {}) as { locks?: Lock | null }
  return typeof locks?.request === 'function' ? locks : undefined
}

/** An app there runs in one realm: what coordinates several is not missed. */
const isReactNative = () => globalThis.navigator?.product === 'ReactNative'

/** The defaults, and what was given in their place where it is a time. */
const numbersOf = (given: object = {}): RenewalNumbers => ({
  ...defaults,
  ...Object.fromEntries(Object.entries(given).filter(([, value]) => typeof value === 'number' && value >= 0)),
})
