import { memoryLock } from '../locks/memory.ts'
import type { Lock } from '../ports/lock.ts'
import { within } from '../values/timers.ts'

/** A call that shows no prompt answers in milliseconds, or not before the app restarts (react-native-keychain issue 688). */
export const nativeTimeoutMs = 5_000

/** A person may take their time; a prompt that is still open must not be asked for twice. */
export const promptTimeoutMs = 120_000

/** What the call brings, or a rejection after `ms`. `onLate` runs when a call that was given up settles after all. */
export async function bounded<T>(
  what: string,
  call: () => T | PromiseLike<T>,
  ms: number,
  onLate?: () => void,
): Promise<T> {
  const running = new Promise<T>(resolve => resolve(call()))
  const result = await within<Awaited<T>, typeof late>(running as Promise<Awaited<T>>, ms, () => late)
  if (result !== late) return result as T
  if (onLate) running.then(onLate, onLate)
  throw new Error(`${what} did not answer within ${ms} ms.`)
}

const late = Object.freeze({})

/** What is known in this process about one stored key, whoever asks. */
export interface KeyState {
  /** Settles, and never rejects, when the last task is done. */
  tail: Promise<unknown>
  /** Slots that hold nothing beyond what their head counts. */
  readonly tidy: Set<number>
  /** What was last read or written in full. */
  text: string | undefined
}

/** What is known in this process about a place: one native module with one service. */
export interface Place {
  readonly keys: Map<string, KeyState>
  install: Promise<string> | undefined
  /** An app is one process: this lock is all that its sessions need. */
  readonly lock: Lock
}

const places = new WeakMap<object, Map<string, Place>>()

/** Several adapters of one module and service are one place: they queue up behind each other. */
export function placeOf(module: object, service: string): Place {
  const services = places.get(module) ?? new Map<string, Place>()
  places.set(module, services)
  const place = services.get(service) ?? { keys: new Map(), install: undefined, lock: memoryLock() }
  services.set(service, place)
  return place
}

export function stateOf(place: Place, key: string): KeyState {
  const state = place.keys.get(key) ?? { tail: Promise.resolve(), tidy: new Set(), text: undefined }
  place.keys.set(key, state)
  return state
}

/** One task of a key at a time, each after the one before, however that ended. */
export function inTurn<T>(state: KeyState, task: () => Promise<T>): Promise<T> {
  const result = state.tail.then(task)
  state.tail = result.catch(() => undefined)
  return result
}
