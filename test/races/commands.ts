import fc from 'fast-check'
import { createSession, isSessionError } from '../../src/index.ts'
import { type Channels, createChannels } from './channel.ts'
import { createRng } from './clock.ts'
import { familyNow, Judge } from './invariants.ts'
import { createLocks, type Locks } from './lock.ts'
import { api, apiFaults, createNetwork, elsewhere, type Network, tokenFaults } from './network.ts'
import { Servers } from './servers.ts'
import { createStorages, key, type Storages } from './storage.ts'
import type { Call, Context, Realm, Setting, World } from './world.ts'

const kinds = {
  request: 16,
  foreign: 1,
  token: 4,
  renew: 5,
  headers: 1,
  signIn: 2,
  adopt: 1,
  signOut: 2,
  abort: 2,
  abortAll: 1,
  advance: 3,
  expire: 8,
  jumpWall: 1,
  jumpMonotonic: 1,
  sleep: 1,
  crash: 1,
  crashAnswered: 2,
  open: 3,
  freeze: 1,
  revive: 2,
  wake: 2,
  offline: 1,
  online: 2,
  tokenFault: 5,
  apiFault: 2,
  storageFault: 2,
  heal: 2,
  evict: 1,
  corrupt: 1,
  dispose: 1,
  expireAccess: 4,
  endFamily: 1,
} as const

export type Kind = keyof typeof kinds

/** One thing that happens to the world, and the seed of what the ports do until the next. */
export interface Command {
  readonly kind: Kind
  readonly context: number
  readonly argument: number
  readonly steps: number
  readonly seed: number
}

const kindArbitrary = fc.oneof(
  ...Object.entries(kinds).map(([kind, weight]) => ({ weight, arbitrary: fc.constant(kind as Kind) })),
)

export const commandArbitrary: fc.Arbitrary<Command> = fc.record({
  kind: kindArbitrary,
  context: fc.nat(3),
  argument: fc.nat(999),
  steps: fc.nat(14),
  seed: fc.nat(0x7fffffff),
})

export const settingArbitrary: fc.Arbitrary<Setting> = fc.record({
  contexts: fc.integer({ min: 1, max: 4 }),
  storage: fc.constantFrom('plain', 'sync', 'cas', 'tab', 'memory', 'plain', 'cas'),
  lock: fc.constantFrom('web', 'web', 'lease', 'no steal', 'missing'),
  channel: fc.constantFrom(true, true, true, false),
  watch: fc.boolean(),
  reuseWindowMs: fc.constantFrom(0, 0, 10_000, 60_000),
  lifetimeSeconds: fc.constantFrom(300, 300, 60, 3600),
  newestOnly: fc.boolean(),
  deaf: fc.boolean(),
  hostile: fc.constantFrom(false, false, true),
  rotates: fc.constantFrom(true, true, true, false),
})

/** What a run plays on. */
export class Stage {
  readonly world: World
  readonly servers: Servers
  readonly judge: Judge
  readonly storages: Storages
  readonly locks: Locks
  readonly channels: Channels
  readonly network: Network
  #names = 0

  constructor(world: World) {
    this.world = world
    this.servers = new Servers(world.setting, () => world.timeMs)
    this.judge = new Judge(world, this.servers)
    this.storages = createStorages(world, this.judge)
    this.locks = createLocks(world, from => this.judge.onRobbed(from))
    this.judge.locks = this.locks
    this.judge.sharedText = () => this.storages.shared.get(key)
    this.channels = createChannels(
      world,
      (from, message) => this.judge.onPost(from, message),
      (to, message) => this.judge.onDelivery(to, message),
    )
    this.network = createNetwork(world, this.servers, this.judge)
    for (let index = 0; index < world.setting.contexts; index++) this.open(index)
  }

  /** A context opens: a new tab, a reload, a process that starts. */
  open(index: number, from?: Realm): Context {
    const { world } = this
    const before = world.contexts[index]
    const realm: Realm = {
      index,
      isDead: false,
      isFrozen: false,
      wakeListeners: new Set(),
      storageFault: undefined,
      items: world.setting.storage === 'tab' ? new Map((from ?? before?.realm)?.items) : new Map(),
    }
    world.realms[index] = realm
    const context: Context = {
      name: `c${index}${'abcdefghijklmnopqrstuvwxyz'[this.#names++ % 26]}`,
      realm,
      session: undefined as never,
      isStarted: false,
      family: undefined,
      inFamily: undefined,
      isDisposed: false,
      ended: new Set(),
      left: new Set(),
      spentBelow: new Map(),
      refused: new Set(),
      rolledBack: new Set(),
      attempted: undefined,
      unsaved: new Set(),
      highestGeneration: 0,
      readAt: new Map(),
      brought: new Set(),
      refusedTokens: new Set(),
      askedAtMs: -1,
      answered: new Set(),
      pending: new Set(),
      ops: 0,
      open: new Set(),
      blindAtMs: undefined,
      mustRead: false,
      hasTrouble: false,
      settled: new Set(),
      lastSent: undefined,
      attemptAt: 0,
      readFamily: undefined,
      readText: undefined,
      glimpsed: new Set(),
      savedAt: -1,
    }
    const self = () => context
    const { session } = {
      session: createSession<{ user: string }>({
        resources: api,
        name: 'races',
        grant: this.network.grantOf(self),
        storage: this.storages.of(self),
        lock: this.locks.of(realm),
        channel: this.channels.open(self),
        fetch: this.network.fetchOf(self),
        clock: world.clock,
        wake: listener => {
          realm.wakeListeners.add(listener)
          return () => void realm.wakeListeners.delete(listener)
        },
      }),
    }
    context.session = session
    this.#listen(context)
    world.contexts[index] = context
    world.note(context, () => `opens${from ? ` as a clone of realm ${from.index}` : ''}`)
    return context
  }

  #listen(context: Context): void {
    const { world, judge } = this
    const { session } = context
    let family: string | undefined
    const look = () => {
      family = familyNow(context) ?? family
    }
    const check = (what: string) => (payload: object) => judge.checkLeak(`the event ${what}`, payload)
    session.on('signed-in', payload => {
      const before = family
      look()
      context.family = family
      if (family) judge.begun.add(family)
      check('signed-in')(payload)
      world.note(context, () => `event: signed in to ${family}`)
      if (before && before !== family) {
        context.left.add(before)
        world.coverage.reach('sign-ins over another')
      }
    })
    session.on('renewed', payload => {
      look()
      check('renewed')(payload)
      world.note(context, () => `event: ${payload.how}`)
      if (payload.how === 'adopted') world.coverage.reach('adoptions')
    })
    session.on('renewal-failed', ({ error }) => {
      world.note(context, () => `event: renewal failed, ${error.code}`)
      judge.checkLeak('an error', error)
    })
    session.on('storage-failed', ({ error }) => judge.checkLeak('an error', error))
    session.on('signed-out', ({ reason }) => {
      judge.onSignedOut(context, context.family ?? family, reason)
      family = familyNow(context)
    })
  }

  /** Calls the public API. Every call ends in one of the ways that it may. */
  launch(context: Context, what: string, start: (call: Call, signal: AbortSignal) => Promise<unknown>): Call {
    const { world, judge } = this
    const { session } = context
    const before = session.state
    context.isStarted = true
    if (before.status === 'signed-in') context.family = before.scope
    const call: Call = {
      number: world.calls.length,
      what,
      context,
      family: before.status === 'signed-in' ? before.scope : undefined,
      startedAtMs: world.timeMs,
      abort: new AbortController(),
      sends: [],
      isAborted: false,
      isSettled: false,
      isBusy: false,
    }
    world.calls.push(call)
    world.note(context, () => `call ${call.number}: ${what}${call.family ? ` under ${call.family}` : ''}`)
    context.pending.add(call)
    if (what === 'renew' || what === 'token') context.askedAtMs = world.timeMs
    if (judge.isRenewing(context)) world.coverage.reach('joins')
    const end = () => {
      call.isSettled = true
      if (what === 'renew' || what === 'token') context.askedAtMs = world.timeMs
      context.pending.delete(call)
    }
    let promise: Promise<unknown>
    try {
      promise = start(call, call.abort.signal)
    } catch (error) {
      world.violate(10, `${what} throws instead of rejecting: ${error}`)
      return call
    }
    promise.then(
      result => {
        end()
        call.result = result
        world.note(
          context,
          () => `call ${call.number} (${what}) → ${result instanceof Response ? result.status : 'done'}`,
        )
      },
      error => {
        end()
        call.error = error
        world.note(context, () => `call ${call.number} (${what}) ✗ ${isSessionError(error) ? error.code : error}`)
        judge.checkLeak('an error', error)
        const isOwn = call.isAborted && error === call.abort.signal.reason
        const isAlive = !!call.family && familyNow(context) === call.family
        if (isAlive && isSessionError(error) && error.code === 'signed_out' && error.signInRequired && !isOwn)
          this.onFalseEnd(call)
        if (error === undefined || (!isOwn && !isSessionError(error) && (error as Error).message !== 'fetch failed'))
          world.violate(7, `call ${call.number} (${what}) rejects with ${error}`)
      },
    )
    return call
  }

  /** A refused refresh token ends a renewal before the session, which lives as long as its access token. */
  onFalseEnd(call: Call): void {
    const isRefused = (this.servers.families.get(call.family ?? '')?.refusals ?? 0) > 0
    if (!isRefused) this.world.violate(3, `call ${call.number} is told that ${call.family} ended, which lives`)
  }

  request(context: Context, argument: number): Call {
    const { world, servers } = this
    const isPost = argument % 3 === 0
    return this.launch(context, isPost ? 'POST' : 'GET', (call, signal) => {
      const { ops } = context
      const { state } = context.session
      const leftMs = state.status === 'signed-in' ? (state.expiresAtMs ?? 0) - world.clock.now() : 0
      const promise = context.session.fetch(`${api}/things?call=${call.number}`, {
        method: isPost ? 'POST' : 'GET',
        ...(isPost && { body: 'thing' }),
        signal,
      })
      if (call.sends.length > 0 && leftMs < 0 && !world.hasJumped)
        world.violate(5, `call ${call.number} is sent at once with an expired token`)
      if (call.sends.length > 0 && context.mustRead)
        world.violate(5, `call ${call.number} is sent after a wake, and nothing was read`)
      const token = call.sends[0]?.token
      const issued = servers.accessTokens.get(token ?? '')
      if (issued && context.ops !== ops) {
        world.coverage.reach('renewals behind a request')
        // Fresh by any clock: the first half of its life, and no clock was moved.
        if (!world.hasJumped && leftMs > world.setting.lifetimeSeconds * 500)
          world.violate(9, `call ${call.number} costs ${context.ops - ops} operations with a fresh token`)
      }
      return promise
    })
  }

  /** Calls that a sign-out must have ended. */
  readonly unfinished = new Set<Call>()

  /** After a sign-out nobody waits on. */
  checkNow(): void {
    for (const context of this.world.contexts) this.judge.checkOrder(context)
    for (const call of this.unfinished) {
      if (!call.isSettled && !call.context.realm.isDead)
        this.world.violate(4, `call ${call.number} (${call.what}) still waits after the sign-out`)
    }
    this.unfinished.clear()
  }

  async run({ kind, context: index, argument }: Command): Promise<void> {
    const { world, network, judge, servers, storages } = this
    const at = index % world.setting.contexts
    const context = world.contexts[at] as Context
    const { realm, session } = context
    const canAct = !realm.isDead && !realm.isFrozen && !context.isDisposed
    world.note(context, () => `▸ ${kind}`)
    const act = (run: () => void) => (canAct ? world.act(realm, run) : undefined)
    switch (kind) {
      case 'request':
        return act(() => void this.request(context, argument))
      case 'foreign':
        return act(() => void this.launch(context, kind, call => session.fetch(`${elsewhere}/?call=${call.number}`)))
      case 'token':
        return act(
          () =>
            void this.launch(context, kind, (_call, signal) =>
              session.getAccessToken({ signal, minValidityMs: (argument % 3) * 40_000 }),
            ),
        )
      case 'renew':
        return act(() => void this.launch(context, kind, (_call, signal) => session.renew({ signal })))
      case 'headers':
        return act(
          () => void this.launch(context, kind, (_call, signal) => session.authorizationHeaders(api, { signal })),
        )
      case 'signIn':
        return act(() => {
          this.launch(context, kind, () => session.signIn({ user: `u${argument % 2}` }))
        })
      case 'adopt':
        return act(() => {
          const response = servers.signIn(`u${argument % 2}`)
          judge.onSignInAnswer(context, response)
          const before = familyNow(context)
          this.launch(context, kind, call => {
            call.begins = response.scope ?? undefined
            return session.adopt(response)
          })
          if (before) context.ended.add(before)
        })
      case 'signOut':
        return act(() => this.#signOut(context, argument % 4 > 0))
      case 'abort':
      case 'abortAll':
        return act(() => {
          for (const call of [...context.pending].slice(0, kind === 'abort' ? 1 : undefined)) {
            if (!['GET', 'POST', 'token', 'renew', 'headers'].includes(call.what)) continue
            call.isAborted = true
            world.coverage.reach('calls aborted')
            call.abort.abort(new Error(`The caller of ${call.number} left.`))
          }
        })
      case 'advance':
        world.timeMs += argument * 60
        return
      case 'expire':
        world.timeMs += world.setting.lifetimeSeconds * (argument % 3 === 0 ? 850 : 1001)
        return
      case 'jumpWall':
        world.hasJumped = true
        world.wasSetBack ||= argument < 500
        world.wallOffsetMs += (argument - 500) * 2000
        return
      case 'jumpMonotonic':
        world.hasJumped = true
        world.monotonicOffsetMs += argument * 1000
        return
      case 'sleep':
        world.hasJumped = true
        world.timeMs += 8 * 3_600_000
        if (argument % 2) world.monotonicOffsetMs -= 8 * 3_600_000
        for (const other of world.contexts) await this.#wake(other)
        return
      case 'crash':
        return this.#crash(context)
      case 'crashAnswered': {
        const victim = world.contexts.find(one => judge.isAnswered(one) && !one.realm.isDead)
        return victim && this.#crash(victim)
      }
      case 'open':
        if (realm.isDead || context.isDisposed) {
          if (!realm.isDead) this.#crash(context)
          const others = world.realms.filter(one => !one.isDead && one !== realm)
          this.open(at, argument % 2 ? others[argument % others.length] : undefined)
        }
        return
      case 'freeze':
        if (realm.isFrozen || realm.isDead) return
        realm.isFrozen = true
        world.coverage.reach('freezes')
        return
      case 'revive':
        return this.revive(realm)
      case 'wake':
        return this.#wake(context)
      case 'offline':
        world.isOffline = true
        return
      case 'online':
        world.isOffline = false
        return
      case 'tokenFault':
        network.tokenFaults.push(tokenFaults[argument % tokenFaults.length] as never)
        return
      case 'apiFault':
        network.apiFaults.push(apiFaults[argument % apiFaults.length] as never)
        return
      case 'storageFault':
        realm.storageFault = {
          what: (['read', 'write', 'hang', 'both'] as const)[argument % 4] as 'read',
          left: 1 + (argument % 5),
        }
        return
      case 'heal':
        for (const one of world.realms) one.storageFault = undefined
        return
      case 'evict':
        if (!world.setting.hostile) return
        world.coverage.reach('evictions')
        judge.evictions++
        storages.itemsOf(realm).delete(key)
        storages.changed(undefined)
        return
      case 'corrupt': {
        if (!world.setting.hostile) return
        judge.corruptions++
        const items = storages.itemsOf(realm)
        const text = items.get(key) ?? '{}'
        const hostile = [
          text.slice(0, text.length / 2),
          '',
          'null',
          '[]',
          '{"v":2}',
          text.replace('"v":1', '"v":9'),
          text.replace(/"generation":\d+/, '"generation":"7"'),
          text.replace('"strict"', '"foreign"'),
          '\u0000',
        ]
        items.set(key, hostile[argument % hostile.length] as string)
        storages.changed(undefined)
        return
      }
      case 'dispose':
        return act(() => {
          session.dispose()
          context.isDisposed = true
        })
      case 'expireAccess':
        servers.expireAccess()
        return
      case 'endFamily':
        if (world.setting.hostile) for (const family of servers.families.values()) family.isRevoked = true
        return
    }
  }

  #signOut(context: Context, revoke: boolean): void {
    const { world, judge } = this
    const family = familyNow(context)
    const before = context.session.state
    if (judge.isRenewing(context)) world.coverage.reach('sign-outs during a renewal')
    const waiting = [...context.pending].filter(
      call => !call.isBusy && ['token', 'GET', 'POST', 'headers'].includes(call.what),
    )
    if (before.status === 'starting') {
      context.blindAtMs = world.timeMs
      judge.blindSignOutAtMs = world.timeMs
    }
    // Known before the call: its events and its revocation are judged by it.
    for (const known of new Set([family, this.storedFamily(context)])) {
      if (known) judge.endBySignOut(known, context)
    }
    const call = this.launch(context, 'signOut', () => context.session.signOut({ revoke }))
    if (before.status === 'signed-in' && context.session.state.status !== 'signed-out' && !call.isSettled)
      world.violate(5, `${context.name} is not signed out at once`)
    if (family) context.ended.add(family)
    if (before.status === 'signed-in') for (const one of waiting) this.unfinished.add(one)
  }

  storedFamily(context: Context): string | undefined {
    const text = this.storages.itemsOf(context.realm).get(key)
    const token = /"accessToken":"([^"]+)"/.exec(text ?? '')?.[1]
    return this.servers.accessTokens.get(token ?? '')?.family.name
  }

  #crash(context: Context): void {
    const { world, judge } = this
    if (context.realm.isDead) return
    world.coverage.reach('crashes')
    if (judge.isAnswered(context)) world.coverage.reach('crashes between answer and write')
    world.note(context, () => 'crashes')
    context.pending.clear()
    world.bury(context.realm)
    this.locks.free(context.realm)
  }

  async #wake({ realm }: Context): Promise<void> {
    if (realm.isDead || realm.isFrozen) return
    await this.world.act(realm, () => {
      for (const context of this.world.contexts)
        if (context.realm === realm && context.isStarted) context.mustRead = true
      for (const listener of [...realm.wakeListeners]) listener()
    })
  }

  async revive(realm: Realm): Promise<void> {
    if (!realm.isFrozen || realm.isDead) return
    realm.isFrozen = false
    await this.#wake({ realm } as Context)
  }

  /** Most runs begin with a session that is there: somebody signed in and everything came to rest. */
  async begin(): Promise<void> {
    const { world } = this
    world.rng = createRng(world.setting.contexts)
    await this.run({ kind: 'signIn', context: 0, argument: 0, steps: 0, seed: 0 })
    while (world.hasTasks && (await world.step()));
    for (const { realm } of world.contexts)
      if (world.setting.storage === 'tab') realm.items = new Map(world.contexts[0]?.realm.items)
  }

  async wakeAll(): Promise<void> {
    for (const context of this.world.contexts) await this.#wake(context)
  }
}
