import type { Grip, Lock } from '../ports/lock.ts'
import { abortReason } from '../values/errors.ts'

interface Waiter {
  run(): void
  /** Loses the lock to somebody who steals it. */
  rob(): void
}

/**
 * A lock of this realm alone, with the semantics of the Web Locks API that a session needs: first come first served, `signal` leaves the queue,
 * `steal` goes ahead of everybody; who is robbed learns it by `lost` and a rejection.
 */
export function memoryLock(): Lock {
  const queues = new Map<string, Waiter[]>()

  function leave(name: string, waiter: Waiter): void {
    const queue = queues.get(name) ?? []
    const place = queue.indexOf(waiter)
    if (place < 0) return
    queue.splice(place, 1)
    if (!queue.length) queues.delete(name)
    else if (place === 0) queue[0]?.run()
  }

  return {
    request(name, { signal, steal }, callback) {
      return new Promise<void>((resolve, reject) => {
        const lost = new AbortController()
        const waiter: Waiter = {
          run() {
            signal?.removeEventListener('abort', abort)
            const grip: Grip = { lost: lost.signal }
            new Promise<void>(done => done(callback(grip))).then(resolve, reject).finally(() => leave(name, waiter))
          },
          rob() {
            lost.abort()
            reject(Object.assign(new Error('The lock was stolen.'), { name: 'AbortError' }))
          },
        }
        const abort = () => {
          reject(abortReason(signal as AbortSignal))
          leave(name, waiter)
        }
        if (signal?.aborted) return abort()
        signal?.addEventListener('abort', abort, { once: true })
        const queue = queues.get(name) ?? []
        queues.set(name, queue)
        if (steal) queue.shift()?.rob()
        if (steal) queue.unshift(waiter)
        else queue.push(waiter)
        if (queue[0] === waiter) waiter.run()
      })
    },
  }
}
