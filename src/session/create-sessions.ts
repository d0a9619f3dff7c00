import type { TokenStorage } from '../ports/token-storage.ts'
import type { Wake } from '../ports/wake.ts'
import { memoryStorage } from '../storage/memory.ts'
import { passThrough } from '../storage/pass-through.ts'
import { anchorOf, isWebStorage, setAnchor, webStorage } from '../storage/web.ts'
import { SessionError } from '../values/errors.ts'
import { createSession } from './create-session.ts'
import type { Session, SessionOptions } from './options.ts'
import { noChannel } from './wiring.ts'

/** Options of {@link createSessions}: those of a session without its name. The storage is one for all users, also where a function gives it. */
export interface SessionsOptions<SignIn> extends Omit<SessionOptions<SignIn>, 'name' | 'channel'> {
  /**
   * How many sessions are kept at hand, 1 or more; the least recently used go first, their records stay in the storage. Anything else is
   * `misconfigured`. @default 10_000
   */
  max?: number
}

/** One session per user of a backend. */
export interface Sessions<SignIn> {
  /**
   * The session of a user; made at the first call, and again after it was forgotten. The id is what your server has verified.
   * @throws SessionError `misconfigured` for an empty or missing id, `disposed` after dispose
   */
  for(userId: string): Session<SignIn>
  /** Disposes the sessions at hand; later calls throw `disposed`. Renewals under way still commit. */
  dispose(): void
}

/**
 * A pool for a backend that calls APIs for many users: one storage and lock, bounded memory, and nothing that crosses from one user to another,
 * since each has a session, a key and a lock name of its own. What is evicted is forgotten, not disposed: who holds it goes on, and shares
 * its renewals with the session that comes after it.
 * Keys are `latchkey:` + user id: two pools for different resources need two storages, or two prefixes.
 * @throws SessionError `misconfigured`
 */
export function createSessions<SignIn = never>({
  max = 10_000,
  wake,
  ...options
}: SessionsOptions<SignIn>): Sessions<SignIn> {
  if (!(max >= 1)) {
    throw new SessionError('misconfigured', `max is ${max}. Give the number of sessions to keep, or leave it out.`)
  }
  const wakes = wake && [wake].flat()
  const pool = new Map<string, Entry<SignIn>>()
  let isDisposed = false
  let shared: { readonly base: TokenStorage; readonly outer: TokenStorage } | undefined
  const resolve = (): TokenStorage => {
    const given = typeof options.storage === 'function' ? options.storage() : options.storage
    return isWebStorage(given) ? webStorage(given) : (given ?? memoryStorage())
  }

  function make(userId: string): Entry<SignIn> {
    if (!shared) {
      const base = resolve()
      shared = { base, outer: passThrough(base, {}) }
    }
    const { base, outer } = shared
    let stops: Set<() => void> | undefined
    let isForgotten = false
    // What is forgotten hears nothing any more, else the storage would hold on to it.
    const whileKept = (subscribe: () => (() => void) | undefined) => {
      if (isForgotten) return () => undefined
      const stop = subscribe()
      const end = () => {
        if (stops?.delete(end)) stop?.()
      }
      stops ??= new Set()
      stops.add(end)
      return end
    }
    // One for all, and of each user's own what ends with the session.
    const storage: TokenStorage = Object.create(outer)
    if (typeof base.watch === 'function') {
      storage.watch = (key, listener) => whileKept(() => base.watch?.(key, listener))
    }
    if (typeof base.onDegraded === 'function') {
      storage.onDegraded = listener => whileKept(() => base.onDegraded?.(listener))
    }
    setAnchor(storage, () => anchorOf(base))
    const session = createSession<SignIn>({
      ...options,
      ...(wakes && {
        wake: wakes.map(
          (one): Wake =>
            listener =>
              whileKept(() => one(listener)),
        ),
      }),
      name: userId,
      storage,
      channel: noChannel,
    })
    return {
      session,
      forget() {
        isForgotten = true
        for (const stop of [...(stops ?? [])]) stop()
      },
    }
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
        oldest[1].forget()
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

interface Entry<SignIn> {
  readonly session: Session<SignIn>
  forget(): void
}
