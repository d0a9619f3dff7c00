import type { TokenStorage } from '../ports/token-storage.ts'
import { memoryStorage } from '../storage/memory.ts'
import { passThrough } from '../storage/pass-through.ts'
import { isWebStorage, webStorage } from '../storage/web.ts'
import { SessionError } from '../values/errors.ts'
import { createSession } from './create-session.ts'
import type { Session, SessionOptions } from './options.ts'

/** Options of {@link createSessions}: those of a session without its name. */
export interface SessionsOptions<SignIn> extends Omit<SessionOptions<SignIn>, 'name' | 'channel'> {
  /** How many sessions are kept at hand; the least recently used go first, their records stay in the storage. @default 10_000 */
  max?: number
}

/** One session per user of a backend. */
export interface Sessions<SignIn> {
  /** The session of a user; made at the first call. */
  for(userId: string): Session<SignIn>
  /** Disposes the sessions at hand; later calls throw `disposed`. */
  dispose(): void
}

const silent = {
  postMessage() {},
  addEventListener() {},
  removeEventListener() {},
  close() {},
}

/**
 * A pool for a backend that calls APIs for many users: one storage and lock, bounded memory, and nothing that crosses from one user to another,
 * since each has a session, a key and a lock name of its own. What is evicted is forgotten, not disposed: who holds it goes on.
 */
export function createSessions<SignIn = never>({
  max = 10_000,
  ...options
}: SessionsOptions<SignIn>): Sessions<SignIn> {
  const pool = new Map<string, { session: Session<SignIn>; stopWatching: () => void }>()
  let isDisposed = false
  let shared: TokenStorage | undefined
  const resolve = (): TokenStorage => {
    const given = typeof options.storage === 'function' ? options.storage() : options.storage
    return isWebStorage(given) ? webStorage(given) : (given ?? memoryStorage())
  }

  function make(userId: string) {
    shared ??= resolve()
    const base = shared
    let stopWatching: (() => void) | undefined
    // What is forgotten is not watched any more, else the storage would hold on to it.
    const watched: Partial<TokenStorage> =
      typeof base.watch === 'function'
        ? {
            watch(key, listener) {
              stopWatching = base.watch?.(key, listener)
              return () => stopWatching?.()
            },
          }
        : {}
    const session = createSession<SignIn>({
      ...options,
      name: userId,
      storage: passThrough(base, watched),
      channel: silent,
    })
    return { session, stopWatching: () => stopWatching?.() }
  }

  return {
    for(userId) {
      if (isDisposed) throw new SessionError('disposed', 'The sessions were disposed. Create others.')
      if (typeof userId !== 'string' || !userId) {
        throw new SessionError(
          'misconfigured',
          'No user id. Write sessions.for(userId) with a string of its own for each user.',
        )
      }
      const entry = pool.get(userId) ?? make(userId)
      // Maps keep their order: the last used is the last.
      pool.delete(userId)
      pool.set(userId, entry)
      const [oldest] = pool
      if (pool.size > max && oldest) {
        pool.delete(oldest[0])
        oldest[1].stopWatching()
      }
      return entry.session
    },
    dispose() {
      isDisposed = true
      for (const { session } of pool.values()) session.dispose()
      pool.clear()
    },
  }
}
