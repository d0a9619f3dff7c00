import type { TokenStorage } from '../ports/token-storage.ts'
import { chain, isThenable, type MaybePromise } from '../values/maybe-promise.ts'
import { parseRecord, type StoredRecord } from '../values/record.ts'
import { within } from '../values/timers.ts'
import type { Home } from './flight.ts'

/** A storage has four answers. Reading never throws and never hangs, whatever is stored. */
export type Reading =
  | { readonly what: 'value'; readonly record: StoredRecord; readonly text: string }
  | { readonly what: 'empty' }
  | { readonly what: 'unavailable'; readonly cause: unknown }
  /** Torn, foreign, undecryptable, of another version or grant: never spent, never overwritten but by a new sign-in. */
  | { readonly what: 'corrupt'; readonly text?: string }

/** What became of an update: written, left alone because `decide` said so, or failed. */
export interface Update<R extends StoredRecord = StoredRecord> {
  readonly what: 'written' | 'left' | 'failed'
  readonly reading: Reading
  /** What was decided last. */
  readonly record?: R | undefined
  readonly cause?: unknown
}

/** Reads and writes the one record of a session, within a time, and never over something it has not seen. */
export interface RecordStore {
  read(): MaybePromise<Reading>
  /**
   * Reads, lets `decide` look at what is there, and writes what it returns (`undefined`: nothing).
   * With a synchronous storage no other code runs in between; where the storage can compare and set, nobody else's does either.
   */
  update<R extends StoredRecord>(decide: (reading: Reading) => R | undefined): MaybePromise<Update<R>>
  /** Whether the item is gone. */
  remove(): MaybePromise<boolean>
}

interface StoreOptions {
  readonly home: Home
  readonly storage: TokenStorage
  readonly key: string
  readonly storageTimeoutMs: number
  readonly isInteractive: boolean
  readonly isReadOnly: boolean
  /** Whether a record was written by this session's grant. */
  isOwn(record: StoredRecord): boolean
}

const mostConflicts = 8

export function createRecordStore(options: StoreOptions): RecordStore {
  const { home, storage, key, storageTimeoutMs: timeoutMs, isInteractive } = options
  let last: Reading | undefined
  let open: Promise<Reading> | undefined
  let writing: Promise<void> | undefined

  const unavailable = (cause: unknown) => ({ what: 'unavailable' as const, cause })
  const late = () => unavailable(new Error(`The storage did not answer within ${timeoutMs} ms.`))

  /** One operation at a time; one that hangs is waited for no longer than its own bound. A synchronous storage never waits. */
  function serial<T>(run: () => MaybePromise<T>): MaybePromise<T> {
    const before = home.storing
    const result = before ? within(before, timeoutMs, () => undefined).then(run) : run()
    if (!isThenable(result)) return result
    const end = () => {
      if (home.storing === settled) home.storing = undefined
    }
    const settled = Promise.resolve(result).then(end, end)
    home.storing = settled
    return result
  }

  function read(): MaybePromise<Reading> {
    // A prompt that is open is joined, not repeated; what it brought serves for the life of the process.
    if (isInteractive && last && last.what !== 'unavailable') return last
    if (isInteractive && open) return within(open, timeoutMs, late)
    const reading = attempt(() => storage.getItem(key), toReading)
    if (!isThenable(reading)) return remember(reading)
    open = reading.then(remember).finally(() => {
      open = undefined
    })
    return within(open, timeoutMs, late)
  }

  function remember(reading: Reading): Reading {
    last = reading
    return reading
  }

  function attempt<T>(operation: () => T | PromiseLike<T>, then: (value: T) => Reading): MaybePromise<Reading> {
    const failed = (cause: unknown): Reading =>
      (cause as { code?: unknown } | undefined)?.code === 'storage_corrupt' ? { what: 'corrupt' } : unavailable(cause)
    try {
      const value = operation()
      return isThenable(value)
        ? Promise.resolve(value as PromiseLike<T>)
            .then(then)
            .catch(failed)
        : then(value as T)
    } catch (cause) {
      return failed(cause)
    }
  }

  function toReading(text: string | null | undefined): Reading {
    if (text === null || text === undefined) return { what: 'empty' }
    const record = typeof text === 'string' ? parseRecord(text) : undefined
    return record && options.isOwn(record) ? { what: 'value', record, text } : { what: 'corrupt', text }
  }

  function update<R extends StoredRecord>(
    decide: (reading: Reading) => R | undefined,
    conflicts = 0,
  ): MaybePromise<Update<R>> {
    if (writing) {
      // One that was given up may still land: what is decided now must come after it.
      return within(writing, timeoutMs, late).then(stuck =>
        stuck ? { what: 'failed', reading: stuck, cause: stuck.cause } : update(decide, conflicts),
      )
    }
    return chain(read(), (reading): MaybePromise<Update<R>> => {
      if (reading.what === 'unavailable') return { what: 'failed', reading, cause: reading.cause }
      const again = (): MaybePromise<Update<R>> =>
        conflicts < mostConflicts
          ? update(decide, conflicts + 1)
          : { what: 'failed', reading, cause: new Error('The record changed at every try to write it.') }
      // Another write began meanwhile: nothing is decided on what it changes.
      if (writing) return again()
      const record = decide(reading)
      if (!record) return { what: 'left', reading }
      return chain(write(reading, JSON.stringify(record), record), (result): MaybePromise<Update<R>> => {
        if (result === 'written') return { what: 'written', reading, record }
        return result === 'conflict' ? again() : { what: 'failed', reading, record, cause: result.cause }
      })
    })
  }

  /** The only write under way: a slow one that was given up must not land on top of a later one. */
  function write(
    base: Reading,
    text: string,
    record: StoredRecord,
  ): MaybePromise<'written' | 'conflict' | { cause: unknown }> {
    // Somebody else's began meanwhile: what it writes is read first.
    if (writing) return 'conflict'
    if (options.isReadOnly) return { cause: new Error('The storage is read-only.') }
    const expected = 'text' in base ? base.text : undefined
    // What can't be read can't be compared either; only a new sign-in gets this far.
    const canCompare = typeof storage.replaceItem === 'function' && (base.what !== 'corrupt' || expected !== undefined)
    const settle = (done: unknown) => {
      if (canCompare && done === false) {
        last = undefined
        return 'conflict'
      }
      last = { what: 'value', record, text }
      return 'written'
    }
    const failed = (cause: unknown) => ({ cause })
    try {
      const done = canCompare ? storage.replaceItem?.(key, expected, text) : storage.setItem(key, text)
      if (!isThenable(done)) return settle(done)
      const result = Promise.resolve(done).then(settle, failed)
      writing = result.then(() => {
        writing = undefined
      })
      return within(result, timeoutMs, () => failed(new Error(`The storage did not save within ${timeoutMs} ms.`)))
    } catch (cause) {
      return failed(cause)
    }
  }

  function remove(): MaybePromise<boolean> {
    const removed = attempt(
      () => storage.removeItem(key) as PromiseLike<unknown>,
      () => ({ what: 'empty' }),
    )
    return chain(isThenable(removed) ? within(removed, timeoutMs, late) : removed, ({ what }) => what === 'empty')
  }

  return {
    read: () => (isInteractive ? read() : serial(read)),
    update: decide => (isInteractive ? update(decide) : serial(() => update(decide))),
    remove: () => serial(remove),
  }
}
