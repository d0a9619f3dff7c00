import type { Lock } from '../ports/lock.ts'

interface Waiter {
  run(): void
}

/**
 * A lock of this realm alone, with the semantics of the Web Locks API that a session needs: first come first served, `signal` leaves the queue,
 * `steal` goes ahead of everybody.
 */
export function memoryLock(): Lock {
  const queues = new Map<string, Waiter[]>()

  function next(name: string, done: Waiter): void {
    const queue = queues.get(name)
    if (queue?.[0] !== done) return
    queue.shift()
    if (queue.length) queue[0]?.run()
    else queues.delete(name)
  }

  return {
    request(name, { signal, steal }, callback) {
      return new Promise<void>((resolve, reject) => {
        const queue = queues.get(name) ?? []
        queues.set(name, queue)
        const waiter: Waiter = {
          run() {
            signal?.removeEventListener('abort', abort)
            new Promise<void>(done => done(callback({}))).then(resolve, reject).finally(() => next(name, waiter))
          },
        }
        const abort = () => {
          const place = queue.indexOf(waiter)
          if (place >= 0) queue.splice(place, 1)
          reject(Object.assign(new Error('The request for the lock was aborted.'), { name: 'AbortError' }))
        }
        if (signal?.aborted) return abort()
        signal?.addEventListener('abort', abort, { once: true })
        if (steal) queue.shift()
        const isFree = queue.length === 0
        if (steal) queue.unshift(waiter)
        else queue.push(waiter)
        if (isFree || steal) waiter.run()
      })
    },
  }
}
