import type { Lock } from '../../src/index.ts'
import { memoryLock } from '../../src/locks/memory.ts'
import type { Realm, World } from './world.ts'

interface Request {
  readonly realm: Realm
  readonly callback: (grip?: unknown) => Promise<void>
  readonly lost: AbortController
  resolve(): void
  reject(error: unknown): void
}

export interface Locks {
  of(realm: Realm): Lock
  /** The platform frees what a dead realm held. */
  free(realm: Realm): void
  /** Whether a realm holds a lock that nobody stole from it. */
  holds(realm: Realm): boolean
}

/** Locks of the platform: first come first served, stealable as Web Locks or a lease are. */
export function createLocks(world: World, onSteal: (from: Realm) => void): Locks {
  const { lock: kind } = world.setting
  const queues = new Map<string, Request[]>()
  const held = new Map<string, Request>()
  const own = new Map<Realm, Lock>()

  function grant(name: string): void {
    if (held.has(name)) return
    const request = queues.get(name)?.shift()
    if (!request) return
    held.set(name, request)
    world.later(request.realm, `lock granted to realm ${request.realm.index}`, () => run(name, request))
  }

  function run(name: string, request: Request): void {
    const grip = kind === 'lease' ? { lost: request.lost.signal } : { name, mode: 'exclusive' }
    const over = (end: () => void) => {
      if (held.get(name) === request) {
        held.delete(name)
        grant(name)
      }
      world.later(request.realm, 'lock request settles', end)
    }
    Promise.resolve()
      .then(() => request.callback(grip))
      .then(
        () => over(request.resolve),
        error => over(() => request.reject(error)),
      )
  }

  function steal(name: string): void {
    const robbed = held.get(name)
    if (!robbed) return
    held.delete(name)
    world.coverage.reach('steals')
    onSteal(robbed.realm)
    world.later(robbed.realm, 'lock was stolen', () => {
      robbed.lost.abort()
      robbed.reject(Object.assign(new Error('The lock was stolen.'), { name: 'AbortError' }))
    })
  }

  return {
    holds: realm => [...held.values()].some(request => request.realm === realm),
    of(realm) {
      if (kind === 'missing') {
        const lock = own.get(realm) ?? memoryLock()
        own.set(realm, lock)
        return lock
      }
      return {
        request: (name, { signal, steal: isStealing }, callback) =>
          world.promise<void>(realm, (resolve, reject) => {
            for (const context of world.contexts) if (context.realm === realm) context.ops++
            const request: Request = { realm, callback, resolve, reject, lost: new AbortController() }
            const queue = queues.get(name) ?? []
            queues.set(name, queue)
            if (isStealing && kind !== 'no steal') {
              steal(name)
              queue.unshift(request)
            } else queue.push(request)
            signal?.addEventListener('abort', () => {
              const at = queue.indexOf(request)
              if (at < 0) return
              queue.splice(at, 1)
              reject(signal.reason)
            })
            grant(name)
          }),
      }
    },
    free(realm) {
      for (const queue of queues.values()) {
        for (let at = queue.length - 1; at >= 0; at--) if (queue[at]?.realm === realm) queue.splice(at, 1)
      }
      for (const [name, request] of [...held]) {
        if (request.realm !== realm) continue
        held.delete(name)
        grant(name)
      }
    },
  }
}
