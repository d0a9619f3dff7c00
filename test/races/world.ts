import type { Session } from '../../src/index.ts'
import { createRng, drain, type Rng, Timers } from './clock.ts'
import type { Coverage } from './coverage.ts'

const mostSteps = 10_000

/** What a run is made of; fast-check draws it. */
export interface Setting {
  readonly contexts: number
  readonly storage: 'plain' | 'sync' | 'cas' | 'tab' | 'memory'
  readonly lock: 'web' | 'lease' | 'no steal' | 'missing'
  readonly channel: boolean
  readonly watch: boolean
  readonly reuseWindowMs: number
  readonly lifetimeSeconds: number
  /** The resource server knows the newest access token only. */
  readonly newestOnly: boolean
  /** Grants that do not listen to their signal: their answers come late. */
  readonly deaf: boolean
  /** Records are evicted and damaged, families ended by the server. */
  readonly hostile: boolean
  /** A server that gives a new refresh token each time. */
  readonly rotates: boolean
}

/** A tab, a worker, a process: what crashes and freezes as one. */
export interface Realm {
  readonly index: number
  isDead: boolean
  isFrozen: boolean
  readonly wakeListeners: Set<() => void>
  storageFault: { what: 'read' | 'write' | 'hang' | 'both'; left: number } | undefined
  /** What a tab's own storage, or a memory, holds. */
  items: Map<string, string>
}

/** A session in a realm, and what can be known of it from outside. */
export interface Context {
  readonly name: string
  readonly realm: Realm
  session: Session<{ user: string }>
  isStarted: boolean
  /** The sign-in that it was seen in last. */
  family: string | undefined
  /** The sign-in that it was in after the last step. */
  inFamily: string | undefined
  isDisposed: boolean
  /** Sign-ins that must not be heard of again from here. */
  readonly ended: Set<string>
  /** Sign-ins that gave way to one of a higher generation, which may be turned round. */
  readonly left: Set<string>
  /** By sign-in: refresh tokens with a lower number are known here to be spent. */
  readonly spentBelow: Map<string, number>
  readonly refused: Set<string>
  /** Sign-ins of which it read a spent pair at the generation of its successor. */
  readonly rolledBack: Set<string>
  /** Refresh token that the last attempt written ahead is about. */
  attempted: string | undefined
  /** Refresh tokens that could not be saved, so that no attempt can be written either. */
  readonly unsaved: Set<string>
  highestGeneration: number
  /** By sign-in: the highest generation that it was read at. */
  readonly readAt: Map<string, number>
  /** Access tokens that a renewal brought here: whoever waited may use one that expired on its way. */
  readonly brought: Set<string>
  /** Access tokens that were answered 401 here. */
  readonly refusedTokens: Set<string>
  /** When a call asked for a new token, or for one that lives longer, last. */
  askedAtMs: number
  /** Renewals answered, whose successor is not written yet. */
  readonly answered: Set<string>
  readonly pending: Set<Call>
  ops: number
  /** When the operations of its storage that are open began. */
  readonly open: Set<{ readonly atMs: number }>
  /** When it was signed out before it could look at the storage: that means whatever sign-in had begun by then. */
  blindAtMs: number | undefined
  /** It woke up and has not looked at the storage since. */
  mustRead: boolean
  /** Its storage failed or was late. */
  hasTrouble: boolean
  /** Sign-ins whose record it read or wrote. */
  readonly settled: Set<string>
  lastSent: { refresh: string; beganAtMs: number; step: number } | undefined
  /** The step in which it asked to write an attempt last. */
  attemptAt: number
  /** The sign-in that it read last: what it writes over that one replaces it. */
  readFamily: string | undefined
  /** What it read last. */
  readText: string | undefined
  /** Sign-ins that it read once, maybe for a renewal that was over already. */
  readonly glimpsed: Set<string>
  /** The step in which what was unsaved was saved. */
  savedAt: number
}

/** One call of the public API. */
export interface Call {
  readonly number: number
  readonly what: string
  readonly context: Context
  readonly family: string | undefined
  readonly startedAtMs: number
  readonly abort: AbortController
  readonly sends: { token: string | undefined; description: string }[]
  isAborted: boolean
  isSettled: boolean
  isBusy: boolean
  /** The sign-in that it brought, which is being saved. */
  begins?: string | undefined
  /** The step in which its 401 came. */
  refusedAt?: number
  result?: unknown
  error?: unknown
}

interface Task {
  readonly realm: Realm | undefined
  /** Happens outside of its realm: neither its freezing nor its death stops it. */
  readonly isOutside: boolean
  readonly lane: string | undefined
  readonly label: string
  readonly run: () => void
}

export class Violation extends Error {
  override readonly name = 'Violation'
  readonly invariant: number
  constructor(invariant: number, message: string) {
    super(`Invariant ${invariant}: ${message}`)
    this.invariant = invariant
  }
}

/** A record or message as a line of a timeline shows it. */
const shorten = (text: string) =>
  text
    .replaceAll('tok3n-', '')
    .replace(/"?([0-9a-f]{4})[0-9a-f]{28}"?/g, '$1')
    .replace(/"(v|grant|tokenType|scope|expiresAtMs|savedAtMs)":("[^"]*"|[\d.]+),?/g, '')
    .replaceAll('"', '')

/** Time, and everything that is on its way. One thing happens at a time; what comes next is the schedule's to choose. */
export class World {
  readonly setting: Setting
  readonly coverage: Coverage
  readonly timers = new Timers<Realm | undefined>()
  readonly realms: Realm[] = []
  readonly contexts: Context[] = []
  readonly calls: Call[] = []
  readonly lines: string[] | undefined
  rng: Rng = createRng(0)
  timeMs = 0
  wallOffsetMs = 1_800_000_000_000
  monotonicOffsetMs = 5000
  isOffline = false
  isEnding = false
  /** A clock was moved: what is expired may differ from context to context. */
  hasJumped = false
  wasSetBack = false
  /** Whose code runs: nobody else's does until everything is drained. */
  current: Realm | undefined
  violation: Violation | undefined
  steps = 0
  #tasks: Task[] = []

  constructor(setting: Setting, coverage: Coverage, lines?: string[]) {
    this.setting = setting
    this.coverage = coverage
    this.lines = lines
  }

  readonly clock = {
    now: () => this.wallOffsetMs + this.timeMs,
    monotonic: () => this.monotonicOffsetMs + this.timeMs,
  }

  note(who: { name: string } | undefined, what: () => string): void {
    this.lines?.push(
      `${(this.timeMs / 1000).toFixed(2).padStart(9)} s  ${(who?.name ?? '').padEnd(8)} ${shorten(what())}`,
    )
  }

  violate(invariant: number, message: string): void {
    if (this.violation) return
    this.violation = new Violation(invariant, message)
    this.note(undefined, () => `*** invariant ${invariant}: ${message}`)
  }

  later(
    realm: Realm | undefined,
    label: string,
    run: () => void,
    more: { isOutside?: boolean; lane?: string } = {},
  ): void {
    if (realm?.isDead && !more.isOutside) return
    this.#tasks.push({ realm, label, run, isOutside: more.isOutside ?? false, lane: more.lane })
  }

  /** A port's promise: dead realms never hear of it. */
  promise<T>(realm: Realm, start: (resolve: (value: T) => void, reject: (error: unknown) => void) => void): Promise<T> {
    if (realm.isDead) return new Promise(() => {})
    return new Promise(start)
  }

  bury(realm: Realm): void {
    realm.isDead = true
    this.timers.removeOf(realm)
    this.#tasks = this.#tasks.filter(task => task.realm !== realm || task.isOutside)
  }

  get hasTasks(): boolean {
    return this.#tasks.length > 0
  }

  #eligible(): number[] {
    const eligible: number[] = []
    const lanes = new Set<string>()
    for (const [index, task] of this.#tasks.entries()) {
      if (task.lane !== undefined) {
        if (lanes.has(task.lane)) continue
        lanes.add(task.lane)
      }
      if (task.isOutside || !task.realm?.isFrozen) eligible.push(index)
    }
    return eligible
  }

  /** Lets one thing happen. False: there is nothing, or nothing but timers that nobody waits for. */
  async step(): Promise<boolean> {
    const eligible = this.#eligible()
    const timer = this.timers.next(realm => !realm?.isFrozen)
    const isWaiting = this.contexts.some(({ pending, realm }) => pending.size > 0 && !realm.isFrozen && !realm.isDead)
    let run: (() => void) | undefined
    const isDue = !!timer && timer.dueMs <= this.timeMs
    const isTurn = eligible.length
      ? this.rng.chance(isDue ? 0.4 : this.isEnding ? 0 : 0.05)
      : this.isEnding || isWaiting || isDue || this.rng.chance(0.1)
    if (timer && isTurn) {
      this.timers.remove(timer)
      this.timeMs = Math.max(this.timeMs, timer.dueMs)
      this.current = timer.owner
      run = timer.callback
    } else if (eligible.length) {
      const [task] = this.#tasks.splice(this.rng.pick(eligible), 1) as [Task]
      this.timeMs += this.rng.int(25)
      this.current = task.realm
      run = task.run
      if (this.lines) this.note(undefined, () => `  · ${task.label}`)
    }
    if (!run) return false
    // Contexts that answer each other for ever.
    if (++this.steps > mostSteps) this.violate(4, `no rest after ${mostSteps} steps`)
    run()
    await drain()
    return true
  }

  /** Runs what a user or the platform does in a realm. */
  async act(realm: Realm | undefined, run: () => void): Promise<void> {
    this.current = realm
    run()
    await drain()
  }
}
