import { type Access, createAccess } from '../engine/access.ts'
import { createAuthFetch } from '../engine/auth-fetch.ts'
import { type Contexts, createContexts } from '../engine/contexts.ts'
import { homeOf } from '../engine/flight.ts'
import { createHeadlessSignIn } from '../engine/headless.ts'
import { createIdentity, type Identity } from '../engine/identity.ts'
import { keepFresh } from '../engine/keep-fresh.ts'
import { createRecordStore } from '../engine/record-store.ts'
import { createRenewal, type RenewalNumbers } from '../engine/renewal.ts'
import type { Target } from '../engine/subject.ts'
import { type AllEvents, createTokenManager, type TokenManager } from '../engine/token-manager.ts'
import { createTurns } from '../engine/turn.ts'
import { createView } from '../engine/view.ts'
import { memoryLock } from '../locks/memory.ts'
import type { Attach } from '../ports/attach.ts'
import type { Channel } from '../ports/channel.ts'
import type { Grant, GrantContext } from '../ports/grant.ts'
import type { Lock } from '../ports/lock.ts'
import type { TokenStorage } from '../ports/token-storage.ts'
import { memoryStorage } from '../storage/memory.ts'
import { anchorOf, isWebStorage, webStorage } from '../storage/web.ts'
import type { Clock } from '../values/clock.ts'
import type { Failure } from '../values/errors.ts'
import type { Emitter } from '../values/events.ts'
import { randomId, type StoredRecord } from '../values/record.ts'
import { createResourceMatcher, type ResourceMatcher, resourceHosts } from '../values/resources.ts'
import type { TokenSet } from '../values/token-set.ts'
import type { SessionOptions } from './options.ts'
import { platformWake } from './platform-wake.ts'

/** The running parts of a session that its methods speak to. */
export interface Core {
  readonly manager: TokenManager
  readonly identity: Identity
  readonly access: Access
  readonly fetch: typeof fetch
  /** The part of the session whose token is for this resource and scope; equal ones are one. */
  view(target: Target): Part
  stop(): void
}

/** What calls are made with. */
export interface Part {
  readonly access: Access
  readonly fetch: typeof fetch
  readonly isResource: ResourceMatcher
}

/** What `createSession` has at hand before anything starts. */
interface Ground {
  readonly options: SessionOptions<never>
  readonly grant: Grant<never>
  readonly attach: Attach
  readonly clock: Clock
  readonly emitter: Emitter<AllEvents>
  readonly fetch: typeof fetch
  readonly isResource: ResourceMatcher
  readonly contextOf: (signal: AbortSignal) => GrantContext
  readonly guard: <T>(run: () => T, signal: AbortSignal) => T
  readonly assertUsable: (signal?: AbortSignal | null) => void
  /** Hands a pair that came too late to the grant. */
  readonly revokeLate: (id: string, tokens: TokenSet) => void
}

const defaults: RenewalNumbers = {
  aheadMs: 60_000,
  timeoutMs: 30_000,
  lockTimeoutMs: 35_000,
  storageTimeoutMs: 5_000,
  minIntervalMs: 5_000,
}

/** Picks the defaults by the storage's scope and wires the ports: the one place that knows all parts. */
export function wire(ground: Ground): Core {
  const { options, grant, emitter } = ground
  const degrade = (what: 'lock' | 'storage' | 'channel') =>
    void Promise.resolve().then(() => emitter.emit('degraded', { what }))
  const storage = storageOf(options.storage, () => degrade('storage'))
  const scope = storage.scope ?? 'shared'
  const isAlone = scope === 'context'
  const key = `latchkey:${options.name ?? resourceHosts(options.resources) ?? 'default'}`
  const home = homeOf(anchorOf(storage), key)
  const grantName = grant.name ?? 'custom'

  const storageLock = typeof storage.lock?.request === 'function' ? storage.lock : undefined
  const ownLock = options.lock ?? storageLock
  const lock = ownLock ?? (isAlone ? undefined : platformLock())
  if (!lock && !isAlone && !isReactNative()) degrade('lock')
  const fallback = memoryLockOf(home)

  const member = { hear: (record: StoredRecord) => void manager.meet(record) }
  home.members.add(member)

  const ports = {
    ...ground,
    ...numbersOf(options.renewal),
    self: randomId(),
    storage,
    key,
    scope,
    home,
    grantName,
    isInteractive: storage.interactive === true,
    isReadOnly: storage.readOnly === true,
    isOwn: (record: StoredRecord) =>
      !('grant' in record) || record.grant === grantName || [record.grant, grantName].includes('custom'),
    renewsAtOnce: grant.renewsAtOnce === true,
    canRenew: (tokens: TokenSet) =>
      !!grant.renew && (grant.canRenew?.(tokens) ?? true) && !manager.held?.record.refused,
    takeTurn: createTurns(lock ?? fallback, fallback, () => degrade('lock')),
    lockName: (id: string) => (isAlone && !ownLock ? undefined : scope === 'tab' ? `${key}:${id}` : key),
    publish(record: StoredRecord) {
      for (const other of home.members) if (other !== member) other.hear(record)
      contexts.tell('signedOut' in record ? 'signed-out' : 'changed', record)
    },
    storageFailure: (cause: unknown) => storageFailure(storage, cause),
  }
  const manager = createTokenManager(ports)
  const store = createRecordStore(ports)
  const contexts: Contexts = createContexts({
    ...ports,
    manager,
    channel: options.channel ?? (isAlone ? undefined : openChannel(key, () => degrade('channel'))),
    onNews: () => void identity.read(true),
    onAnswer: record => identity.receive(record),
    onBroken: () => degrade('channel'),
  })
  const identity: Identity = createIdentity({
    ...ports,
    manager,
    store,
    contexts,
    signInAtStart: grant.headless === 'at-start' ? async () => signInHeadless?.() : undefined,
  })
  const renewal = createRenewal({
    ...ports,
    manager,
    store,
    contexts,
    isRefusedByApp: options.renewal?.isRefused,
    reassert: () => identity.reassert(),
  })
  const signInHeadless = grant.headless ? createHeadlessSignIn({ ...ports, manager, identity }) : undefined
  const accessOptions = { ...ports, manager, identity, renewal, signInHeadless }
  const access = createAccess(accessOptions)
  const views = new Map<string, Part>()

  const freshness = options.keepFresh ? keepFresh(manager, access) : undefined
  const onWake = () => {
    access.wake()
    for (const view of views.values()) view.access.wake()
    identity.reassert()
    freshness?.check()
  }
  const stops = [
    ...[options.wake ?? platformWake].flat().map(wake => wake(onWake)),
    attempt(() => typeof storage.watch === 'function' && storage.watch(key, () => void identity.read(true))),
    attempt(() => typeof storage.onDegraded === 'function' && storage.onDegraded(({ what }) => degrade(what))),
    freshness?.stop,
    contexts.close,
    identity.stop,
  ]
  return {
    manager,
    identity,
    access,
    fetch: createAuthFetch({ ...options, ...ports, manager, access }),
    view(target) {
      const name = JSON.stringify([target.resource, target.scope])
      const known = views.get(name)
      if (known) return known
      const view = createView(accessOptions, target)
      const isResource = target.resource ? createResourceMatcher(target.resource) : ground.isResource
      const part = { ...view, isResource, fetch: createAuthFetch({ ...options, ...ports, ...view, isResource }) }
      views.set(name, part)
      return part
    },
    stop() {
      for (const stop of stops) if (stop) stop()
      home.members.delete(member)
    },
  }
}

/** What was given, wrapped where it is a platform's; memory where there is none, which is told unless nothing was asked for. */
function storageOf(option: SessionOptions<never>['storage'], onMissing: () => void): TokenStorage {
  if (option === undefined) return memoryStorage()
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

function storageFailure(storage: TokenStorage, cause: unknown): Failure {
  return storage.readOnly === true || (cause as { code?: unknown } | undefined)?.code === 'read_only'
    ? {
        code: 'read_only',
        message: 'The storage can not save, so the refresh token is not spent. Renew where it can.',
        cause,
      }
    : { code: 'storage_unavailable', message: 'The storage can not be used now. Nothing is lost; try again.', cause }
}

/** News are a convenience: a storage that can't give them is used without. */
function attempt(subscribe: () => (() => void) | false): (() => void) | false {
  try {
    return subscribe()
  } catch {
    return false
  }
}

function platformLock(): Lock | undefined {
  const { locks } = (globalThis.navigator ?? {}) as { locks?: Lock | null }
  return typeof locks?.request === 'function' ? locks : undefined
}

const memoryLocks = new WeakMap<object, Lock>()
function memoryLockOf(home: object): Lock {
  const lock = memoryLocks.get(home) ?? memoryLock()
  memoryLocks.set(home, lock)
  return lock
}

/** An app there runs in one realm: what coordinates several is not missed. */
const isReactNative = () => globalThis.navigator?.product === 'ReactNative'

function openChannel(name: string, onMissing: () => void): Channel | undefined {
  try {
    const channel = new BroadcastChannel(name)
    // Node's channels hold the process; a session never does.
    ;(channel as { unref?(): void }).unref?.()
    return channel as unknown as Channel
  } catch {
    if (!isReactNative()) onMissing()
    return undefined
  }
}

/** The defaults, and what was given in their place where it is a time. */
export const numbersOf = (given: object | undefined): RenewalNumbers => ({
  ...defaults,
  ...Object.fromEntries(Object.entries(given ?? {}).filter(([, value]) => typeof value === 'number' && value >= 0)),
})
