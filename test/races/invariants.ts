import type { SessionEvents, TokenResponse, TokenSet } from '../../src/index.ts'
import type { Locks } from './lock.ts'
import type { Servers } from './servers.ts'
import { patienceMs, type StorageEvents } from './storage.ts'
import type { Call, Context, Realm, World } from './world.ts'

interface StoredShape {
  v?: number
  id: string
  generation: number
  begunAtMs?: number
  signedOut?: true
  grant?: string
  tokens?: { accessToken: string; refreshToken?: string; scope?: string }
  attempt?: { retryAtMs?: number }
  refused?: true
}

const timeoutMs = 30_000
// A flight counts from its first call, and quick retries are part of it.
const mostTurns = 5
const quickMs = 3000
const canary = 'tok3n-'

export function parseStored(text: string | undefined): StoredShape | undefined {
  try {
    const value = JSON.parse(text ?? '') as StoredShape
    if (value?.v !== 1 || (value.tokens && value.grant !== 'strict')) return undefined
    return typeof value?.generation === 'number' && typeof value.id === 'string' ? value : undefined
  } catch {
    return undefined
  }
}

/** The sign-in that a session says it is in. */
export function familyNow({ session, isStarted }: Context): string | undefined {
  if (!isStarted) return undefined
  const { state } = session
  return state.status === 'signed-in' ? state.scope : undefined
}

/**
 * Judges from outside: by what the servers were sent, what the storage took, what was delivered to whom and what the public API answered.
 * Nothing here looks into the engine.
 */
export class Judge implements StorageEvents {
  readonly world: World
  readonly servers: Servers
  locks!: Locks
  /** Families that somebody signed out of, and by whom. */
  readonly signedOut = new Map<string, Set<Context>>()
  readonly revokedByClient = new Set<string>()
  readonly replaced = new Set<string>()
  /** Families that somebody was signed in to, in that order. */
  readonly begun = new Set<string>()
  readonly robbed = new Set<Realm>()
  readonly everStored = new Set<string>()
  /** Who received a refresh token from the server. */
  readonly receivers = new Map<string, Set<Context>>()
  readonly lost = new Set<string>()
  signInAnswers = 0
  corruptions = 0
  evictions = 0
  removals = 0
  /** When somebody signed out before the first read, last. */
  blindSignOutAtMs = -1
  readonly #endsRead = new Map<string, number>()
  /** Refresh tokens that somebody wrote without holding the lock: saved late, or at a sign-in. */
  readonly storedAside = new Set<string>()
  /** A write took effect after its context had given it up. */
  hasLateWrites = false
  #signInTokens = new Set<string>()
  /** By sign-in: when its first tokens came. */
  readonly #begunAtMs = new Map<string, number>()
  /** By sign-in: its place among all, as its records say. */
  readonly #places = new Map<string, number>()
  #active = new Set<{ context: Context; family: string; refresh: string; startedAtMs: number }>()
  #overwritten = new Map<string, number>()
  #familyOfId = new Map<string, string>()
  #senders = new Map<string, Context>()

  constructor(world: World, servers: Servers) {
    this.world = world
    this.servers = servers
  }

  get #isLockSure() {
    return this.world.setting.lock !== 'missing'
  }

  /** A removal that is heard of is a sign-out; gone without news is not. */
  get #isSeenGone() {
    const { watch, channel } = this.world.setting
    return this.evictions + this.removals > 0 && (watch || channel)
  }

  /** A sign-out before the first read may be for what began before it, whatever it found; a clock that went back may mislead it. */
  isMeant(family: string | undefined): boolean {
    const begunAtMs = this.#begunAtMs.get(family ?? '') ?? 0
    return this.blindSignOutAtMs >= 0 && (this.world.wasSetBack || begunAtMs < this.blindSignOutAtMs)
  }

  get #isCommon() {
    return !['tab', 'memory'].includes(this.world.setting.storage)
  }

  numberOf(refresh: string | undefined): number {
    return this.servers.refreshTokens.get(refresh ?? '')?.number ?? 0
  }

  familyOf(record: StoredShape): string | undefined {
    const family = this.servers.accessTokens.get(record.tokens?.accessToken ?? '')?.family.name
    if (family) this.#familyOfId.set(record.id, family)
    return family ?? this.#familyOfId.get(record.id)
  }

  #knowSpent(context: Context, family: string, below: number): void {
    const before = context.spentBelow.get(family) ?? 0
    if (below <= before) return
    context.spentBelow.set(family, below)
  }

  #isOver(context: Context, family: string): boolean {
    return context.ended.has(family) || context.left.has(family)
  }

  isRenewing(context: Context): boolean {
    return [...this.#active].some(active => active.context === context)
  }

  isAnswered(context: Context): boolean {
    return context.answered.size > 0
  }

  // --- renewals (1, 2)

  onRenew(
    context: Context,
    { accessToken, refreshToken: refresh = '' }: TokenSet,
  ): { readonly startedAtMs: number; end(): void } {
    const { world, servers } = this
    if (!this.#isNeeded(context, accessToken))
      world.violate(9, `${context.name} renews in place of ${accessToken}, which is fresh and which nobody refused`)
    const issued = servers.refreshTokens.get(refresh)
    const family = issued?.family.name ?? '?'
    world.coverage.reach('renewals')
    if (!issued) world.violate(2, `${context.name} sends a refresh token that nobody issued`)
    const isRobbed = this.robbed.has(context.realm)
    for (const active of this.#active) {
      const isSameRealm = active.context.realm === context.realm
      const isExcused =
        active.family !== family ||
        active.context.realm.isDead ||
        world.timeMs - active.startedAtMs >= 2 * timeoutMs - quickMs ||
        (!isSameRealm && (!this.#isLockSure || this.robbed.has(active.context.realm) || isRobbed))
      if (!isExcused) world.violate(1, `${context.name} renews ${family} while ${active.context.name} does`)
    }
    const isShareable = world.setting.storage !== 'memory'
    if (isShareable && this.#isLockSure && !isRobbed && !this.locks.holds(context.realm))
      world.violate(1, `${context.name} renews without the lock`)
    const number = issued?.number ?? 0
    // A quick retry is part of the renewal that began with the first call: no attempt was written since.
    const isQuick = context.lastSent?.refresh === refresh && context.attemptAt < context.lastSent.step
    // Without a lock, a spent pair may be written over its successor at the same generation: what is stored counts then.
    const isRolledBack = context.rolledBack.has(family) && (this.robbed.size > 0 || !this.#isLockSure)
    if (number < (context.spentBelow.get(family) ?? 0) && !isRolledBack)
      world.violate(2, `${context.name} sends ${refresh} again, though it knows a successor`)
    // Where nothing rotates, a newer record with the same refresh token is adopted, and its renewal tells.
    if (world.setting.rotates && context.refused.has(refresh))
      world.violate(2, `${context.name} sends ${refresh} again after its refusal`)
    const stored = this.#isCommon ? parseStored(this.sharedText()) : undefined
    if (stored?.tokens && this.#isLockSure && !isRobbed && !this.hasLateWrites && this.familyOf(stored) === family) {
      const isAside = this.storedAside.has(stored.tokens.refreshToken ?? '')
      if (!isAside && this.numberOf(stored.tokens.refreshToken) > number)
        world.violate(
          2,
          `${context.name} sends ${refresh} under the lock, though ${stored.tokens.refreshToken} is stored`,
        )
    }
    const isSaved = this.everStored.has(refresh) && !context.unsaved.has(refresh) && context.savedAt !== world.steps
    // Its sign-in gave its own write up: it counts as unsaved there until it is written again.
    if (isShareable && !isQuick && context.attempted !== refresh && isSaved && !this.hasLateWrites)
      world.violate(2, `${context.name} sends ${refresh} without having written the attempt`)
    if (issued?.successor) {
      world.coverage.reach('quick retries')
    }
    const startedAtMs = isQuick ? (context.lastSent?.beganAtMs ?? world.timeMs) : world.timeMs
    const active = { context, family, refresh, startedAtMs }
    this.#active.add(active)
    const end = () => {
      this.#active.delete(active)
      context.lastSent = { refresh, beganAtMs: startedAtMs, step: world.steps }
    }
    return { startedAtMs, end }
  }

  /** A token is replaced when it ends soon, when a server refused it, or when a call asked for that. */
  #isNeeded({ session, pending, refusedTokens, askedAtMs }: Context, accessToken: string): boolean {
    const { world } = this
    const issued = this.servers.accessTokens.get(accessToken)
    const { state } = session
    const isAsking = [...pending].some(({ what }) => what === 'renew' || what === 'token')
    if (!issued || world.hasJumped || refusedTokens.has(accessToken) || state.status !== 'signed-in') return true
    const lifetimeMs = world.setting.lifetimeSeconds * 1000
    const leftMs = (state.expiresAtMs ?? 0) - world.clock.now()
    return leftMs <= Math.min(60_000, lifetimeMs / 4) || askedAtMs >= issued.expiresAtMs - lifetimeMs || isAsking
  }

  onRobbed(realm: Realm): void {
    this.robbed.add(realm)
  }

  endBySignOut(family: string, context: Context): void {
    this.signedOut.set(family, (this.signedOut.get(family) ?? new Set()).add(context))
  }

  sharedText: () => string | undefined = () => undefined

  onSignInAnswer(context: Context, response: TokenResponse): void {
    this.signInAnswers++
    this.#signInTokens.add(response.refresh_token ?? '')
    this.#begunAtMs.set(response.scope ?? '', this.world.timeMs)
    this.#received(context, response.refresh_token)
    for (const call of context.pending) if (call.what === 'signIn') call.begins = response.scope ?? undefined
    this.world.note(context, () => `signs in as ${response.scope}`)
  }

  #received(context: Context, refresh: string | null | undefined): void {
    if (!refresh) return
    context.unsaved.add(refresh)
    const receivers = this.receivers.get(refresh) ?? new Set()
    this.receivers.set(refresh, receivers.add(context))
  }

  onRenewed(context: Context, refresh: string, response: TokenResponse, tookMs: number): void {
    const family = response.scope as string
    const next = response.refresh_token as string
    this.world.note(context, () => `receives ${next} for ${refresh}`)
    this.#received(context, next)
    context.brought.add(response.access_token)
    if (tookMs > timeoutMs) this.world.coverage.reach('late answers')
    if (this.lost.has(refresh)) this.world.coverage.reach('lost answers recovered')
    if (next !== refresh) {
      this.#knowSpent(context, family, this.numberOf(next))
      context.answered.add(next)
    }
  }

  onRefused(context: Context, refresh: string, tookMs: number): void {
    this.world.note(context, () => `is refused ${refresh}`)
    this.world.coverage.reach('refusals')
    // One that comes when its call counts as dead is nobody's any more.
    if (tookMs < 2 * timeoutMs) context.refused.add(refresh)
  }

  onLost(refresh: string): void {
    this.world.coverage.reach('lost answers')
    this.lost.add(refresh)
  }

  onRevoke(context: Context, { accessToken, refreshToken: refresh }: TokenSet): void {
    const { world } = this
    const family = this.servers.accessTokens.get(accessToken)?.family.name ?? '?'
    world.note(context, () => `revokes ${refresh} of ${family}`)
    if (context.answered.has(refresh ?? '')) world.coverage.reach('pairs revoked late')
    this.revokedByClient.add(family)
    // The one that took its place was signed out of, which is all that may be left to see.
    const isOverToo = this.replaced.has(family) && this.signedOut.size > 0
    // A sign-out is for what began before, too, as far as clocks can tell.
    const begunAtMs = this.#begunAtMs.get(family) ?? 0
    const isCovered =
      this.isMeant(family) || [...this.signedOut.keys()].some(other => (this.#begunAtMs.get(other) ?? 0) >= begunAtMs)
    const isMistaken = world.wasSetBack && this.signedOut.size > 0
    if (!isOverToo && !isCovered && !isMistaken && !this.#isSeenGone)
      world.violate(3, `${context.name} revokes ${family}, which nobody signed out of`)
  }

  // --- storage (2, 5, 10)

  onRead(context: Context, text: string | undefined, isInTime: boolean): void {
    const record = parseStored(text)
    context.readText = text
    if (text !== undefined && !record) this.world.coverage.reach('corrupt records met')
    // Whoever waits for a read longer than it should may still take what it brings.
    if (record?.tokens && record.generation >= context.highestGeneration)
      context.left.delete(this.familyOf(record) ?? '')
    if (text === undefined && isInTime) context.blindAtMs = undefined
    if (!isInTime || !record) return
    const family = this.familyOf(record)
    if (!family) return
    context.readFamily = family
    context.readAt.set(family, Math.max(record.generation, context.readAt.get(family) ?? 0))
    if ((this.#begunAtMs.get(family) ?? 0) < (context.blindAtMs ?? 0)) {
      this.endBySignOut(family, context)
      // By its own clock.
      if (!this.world.wasSetBack) context.ended.add(family)
    }
    context.blindAtMs = undefined
    if (record.signedOut) {
      context.ended.add(family)
      // A read answers some promise turns before the engine has it: what is sent in between can't know.
      this.#endsRead.set(`${context.name} ${family}`, this.world.steps)
    } else {
      context.settled.add(family)
      const isOlder = this.numberOf(record.tokens?.refreshToken) < (context.spentBelow.get(family) ?? 0)
      if (isOlder && record.generation === context.highestGeneration) context.rolledBack.add(family)
      this.#knowSpent(context, family, this.numberOf(record.tokens?.refreshToken))
    }
    if (record.tokens && record.generation >= context.highestGeneration) context.left.delete(family)
    const isGlimpse = !context.glimpsed.has(family)
    context.glimpsed.add(family)
    if (!isGlimpse && record.generation > context.highestGeneration) {
      context.highestGeneration = record.generation
      const mine = familyNow(context)
      const isUnsaved = [...context.unsaved].some(one => this.servers.refreshTokens.get(one)?.family.name === mine)
      // A sign-in on its way into the storage takes the place of what it finds.
      if (
        !isUnsaved &&
        record.tokens &&
        mine &&
        mine !== family &&
        record.generation > (context.readAt.get(mine) ?? 0) &&
        !this.#isOver(context, family) &&
        context.settled.has(mine)
      )
        context.left.add(mine)
    }
  }

  onWriteBegins(context: Context, text: string): void {
    const record = parseStored(text)
    if (record) context.highestGeneration = Math.max(context.highestGeneration, record.generation)
    if (record?.attempt && !record.attempt.retryAtMs) context.attemptAt = this.world.steps
    const family = record?.tokens && this.familyOf(record)
    if (family) this.#places.set(family, Math.max(record.begunAtMs ?? 0, this.#places.get(family) ?? 0))
    // A sign-out ends what it finds, also where that can't be marked.
    const found = record?.signedOut && this.familyOf(record)
    if (found && [...context.pending].some(({ what }) => what === 'signOut')) this.endBySignOut(found, context)
    const { readFamily } = context
    const isBeginning = [...context.pending].some(({ what }) => what === 'signIn' || what === 'adopt')
    if (isBeginning && family && readFamily && readFamily !== family) context.left.add(readFamily)
    if (family) context.left.delete(family)
    const isEnding = [...context.pending].some(({ what }) => ['signOut', 'signIn', 'adopt'].includes(what))
    if (family && context.ended.has(family) && !isEnding)
      this.world.violate(5, `${context.name} writes tokens of ${family}, which ended there`)
  }

  onWritten(context: Context, text: string): void {
    const record = parseStored(text)
    // A sign-in counts as saved when its own write is through, whoever else wrote it meanwhile.
    const isBeginning = [...context.pending].some(({ what }) => what === 'signIn' || what === 'adopt')
    if (!isBeginning && context.unsaved.delete(record?.tokens?.refreshToken ?? '')) context.savedAt = this.world.steps
  }

  onWrite(context: Context, before: string | undefined, text: string | undefined, readText: string | undefined): void {
    const { world } = this
    const last = parseStored(before)
    const record = parseStored(text)
    if (text === undefined) {
      // A sign-out that could not be marked.
      const removed = last && this.familyOf(last)
      if (removed) this.endBySignOut(removed, context)
      this.removals++
    }
    if (!record) return
    const isBeginning = [...context.pending].some(({ what }) => what === 'signIn' || what === 'adopt')
    const family = this.familyOf(record)
    const refresh = record.tokens?.refreshToken
    // A sign-in may; its write may also land when its call is over.
    const isNew = isBeginning || (this.#signInTokens.has(refresh ?? '') && !this.everStored.has(refresh ?? ''))
    if (before !== undefined && !last && before === readText && !isNew)
      world.violate(10, `${context.name} writes over a record that is damaged or foreign`)
    context.highestGeneration = Math.max(context.highestGeneration, record.generation)
    if (family && record.tokens) context.settled.add(family)
    const isSigningOut = [...context.pending].some(({ what }) => what === 'signOut')
    if (family && record.signedOut && isSigningOut) this.endBySignOut(family, context)
    const isFenced = ['cas', 'sync'].includes(world.setting.storage)
    if (refresh) {
      this.everStored.add(refresh)
      if (!this.locks.holds(context.realm)) this.storedAside.add(refresh)
      context.answered.delete(refresh)
      if (family) this.#knowSpent(context, family, this.numberOf(refresh))
    }
    const other = last?.tokens && this.familyOf(last)
    if (record.tokens && other && family && other !== family) {
      this.replaced.add(other)
      const turns = (this.#overwritten.get(`${family} over ${other}`) ?? 0) + 1
      this.#overwritten.set(`${family} over ${other}`, turns)
      if (turns > mostTurns) {
        world.violate(4, `${family} is written over ${other} again and again`)
      }
    }
    if (!record.attempt?.retryAtMs) context.attempted = record.attempt ? refresh : undefined
    else world.coverage.reach('back-offs shared')
    if (isFenced && !this.corruptions && last && record.generation < last.generation)
      world.violate(2, `${context.name} writes generation ${record.generation} over ${last.generation}`)
    if (isFenced && last && family && record.tokens && last.tokens && this.familyOf(last) === family) {
      if (refresh && this.numberOf(refresh) < this.numberOf(last.tokens.refreshToken))
        world.violate(2, `${context.name} writes ${refresh} over its successor ${last.tokens.refreshToken}`)
    }
  }

  onLateWrite(): void {
    this.hasLateWrites = true
  }

  onWriteFailed(context: Context, text: string): void {
    const refresh = parseStored(text)?.tokens?.refreshToken
    if (!refresh) return
    if (context.answered.has(refresh)) this.world.coverage.reach('successors unsaved')
  }

  // --- messages (8)

  onPost(from: Context, message: Record<string, unknown>): void {
    this.#senders.set(String(message.from), from)
    const isEarly = message.what === 'changed' && Number(message.generation) > from.highestGeneration
    const isStuck = [...from.open].some(({ atMs }) => this.world.timeMs - atMs >= patienceMs)
    if (isEarly && !isStuck && !from.hasTrouble && !this.corruptions)
      this.world.violate(2, `${from.name} tells of generation ${message.generation} before it writes it`)
    if (message.what !== 'answer' && JSON.stringify(message).includes(canary))
      this.world.violate(8, `a message of kind ${message.what} holds a token`)
  }

  onDelivery(to: Context, message: Record<string, unknown>): void {
    if (message.to && this.#senders.get(String(message.to)) !== to) return
    const family = this.#familyOfId.get(String(message.id))
    if (!family || familyNow(to) !== family || to.isDisposed) return
    if (message.what === 'signed-out') to.ended.add(family)
    if (message.what === 'answer') {
      this.world.coverage.reach('tokens handed over by message')
      const record = message.record as StoredShape
      const refresh = record.tokens?.refreshToken
      this.#knowSpent(to, family, this.numberOf(refresh))
      this.#received(to, refresh)
    }
  }

  // --- requests (5, 6, 8)

  onSend(context: Context, call: Call | undefined, url: string, token: string | undefined, description: string): void {
    const { world } = this
    if (!url.startsWith('https://api.example.com/')) {
      if (token) world.violate(8, `a token leaves for ${url}`)
      return
    }
    if (!call) {
      world.violate(6, 'a request that nobody made')
      return
    }
    const issued = this.servers.accessTokens.get(token ?? '')
    const family = issued?.family.name
    world.note(context, () => `call ${call.number} is sent with ${token} of ${family}`)
    if (call.refusedAt === world.steps && call.sends[0] && call.sends[0].token !== token)
      world.coverage.reach('stale 401s')
    call.sends.push({ token, description })
    if (call.sends.length > 2) world.violate(6, `call ${call.number} is sent ${call.sends.length} times`)
    if (call.sends[0]?.description !== description) world.violate(6, `call ${call.number} is sent differently`)
    if (call.context !== context) world.violate(5, `call ${call.number} is sent by ${context.name}`)
    if (call.isSettled) world.violate(6, `call ${call.number} is sent after its answer`)
    const isOld = issued && issued.expiresAtMs <= call.startedAtMs && !context.brought.has(token ?? '')
    if (isOld && !world.hasJumped)
      world.violate(5, `call ${call.number} is sent with ${token}, which had expired before the call began`)
    if (!family) {
      world.violate(5, `call ${call.number} is sent with ${token}, which nobody issued`)
      return
    }
    if (call.family && family !== call.family)
      world.violate(5, `call ${call.number} began under ${call.family} and is sent under ${family}`)
    const isJustRead = this.#endsRead.get(`${context.name} ${family}`) === this.world.steps
    if (this.#isOver(context, family) && !isJustRead)
      world.violate(5, `call ${call.number} is sent under ${family}, which ended there`)
  }

  onStatus(context: Context, call: Call | undefined, status: number, token: string | undefined): void {
    if (status !== 401 || !call || !token) return
    call.refusedAt = this.world.steps
    context.refusedTokens.add(token)
  }

  // --- ends (3)

  onSignedOut(context: Context, family: string | undefined, reason: SessionEvents['signed-out']['reason']): void {
    const { world } = this
    world.note(context, () => `signed out of ${family}: ${reason}`)
    const known = family ? this.servers.families.get(family) : undefined
    // It is on its way into the storage.
    const isFresh = !world.wasSetBack && [...context.pending].some(({ begins }) => !!family && begins === family)
    const isExplained = {
      requested: () => !family || this.signedOut.get(family)?.has(context),
      // Also of a later sign-in; but what is being saved beats what was there.
      elsewhere: () =>
        this.#isSeenGone ||
        this.isMeant(family) ||
        (isFresh ? this.signedOut.has(family as string) : this.signedOut.size > 0),
      replaced: () => this.signInAnswers > 1,
      refused: () => (known ? known.refusals > 0 : [...this.servers.families.values()].some(one => one.refusals > 0)),
      expired: () => false,
      storage_corrupt: () => this.corruptions > 0,
      key_lost: () => false,
    }[reason]()
    if (!isExplained) world.violate(3, `${context.name} is signed out of ${family}: ${reason}`)
    if (reason === 'elsewhere') world.coverage.reach('sign-outs learned elsewhere')
    const isFinal = reason === 'requested' || (reason === 'elsewhere' && !this.evictions)
    // Events come after the lock is free: the session may be further on.
    if (family && isFinal && familyNow(context) !== family) context.ended.add(family)
  }

  /** Only a later sign-in takes the place of one, whatever the generations. */
  checkOrder(context: Context): void {
    const { inFamily: before } = context
    context.inFamily = familyNow(context)
    const [was, is] = [before, context.inFamily].map(family => this.#places.get(family ?? ''))
    if (was !== undefined && is !== undefined && is < was)
      this.world.violate(3, `${context.name} goes from ${before} to ${context.inFamily}, which began earlier`)
  }

  /** No token in anything that an app may print. */
  checkLeak(what: string, value: unknown): void {
    const text = `${value instanceof Error ? `${value.message} ${value.stack}` : ''} ${JSON.stringify(value)}`
    if (text.includes(canary)) this.world.violate(8, `a token stands in ${what}`)
  }
}
