import type { Grip, Lock } from '../ports/lock.ts'
import { startTimer, within } from '../values/timers.ts'

/** How waiting for a lock ended. `done`: the body ran to its end, the lock is free again. */
export type Turn = 'done' | 'left' | 'timeout'

interface TurnOptions {
  readonly timeoutMs: number
  /** Aborts when the turn is not needed any more: whoever waits leaves the queue. A body that runs is not disturbed. */
  readonly leave: AbortSignal
  readonly steal?: boolean
}

export type TakeTurn = (
  name: string,
  options: TurnOptions,
  body: (grip: Grip | undefined) => Promise<void>,
) => Promise<Turn>

const longestReleaseMs = 1000

// A sandboxed frame, a document that is gone, a lock that is none: it will not work later either.
const hopeless = ['SecurityError', 'NotSupportedError', 'InvalidStateError', 'TypeError']

/**
 * Runs a body under a lock after a bounded wait. It never rejects and never hangs before the body runs, whatever the lock does.
 * A lock that can never work here counts as none: `fallback` takes over for good and `onHopeless` is told once.
 */
export function createTurns(lock: Lock, fallback: Lock, onHopeless: () => void): TakeTurn {
  let current = lock

  const take: TakeTurn = (name, options, body) =>
    new Promise(resolve => {
      let isWaiting = true
      const waiting = new AbortController()
      const stopWaiting = () => {
        isWaiting = false
        stopTimer()
        options.leave.removeEventListener('abort', leave)
      }
      const giveUp = (why: Turn) => {
        if (!isWaiting) return
        stopWaiting()
        resolve(why)
        waiting.abort()
      }
      const leave = () => giveUp('left')
      const stopTimer = startTimer(() => giveUp('timeout'), options.timeoutMs)
      options.leave.addEventListener('abort', leave)
      if (options.leave.aborted) return leave()

      const callback = async (grip?: Grip | null) => {
        // Called after we gave up: take nothing, keep nobody waiting.
        if (!isWaiting) return
        stopWaiting()
        try {
          await body(typeof grip === 'object' && grip ? grip : undefined)
        } finally {
          // The lock is free once its request settles; one that forgets to is not waited for.
          resolve(within(over, longestReleaseMs, () => undefined).then(() => 'done'))
        }
      }
      // Others may find out at the same time that it can never work.
      const asked = current
      const refusedOrOver = (error?: unknown) => {
        // A body that runs goes on to its end, also where the lock was stolen.
        if (!isWaiting) return
        const none = error === undefined || hopeless.includes((error as Error | null)?.name ?? '')
        if (!none || asked === fallback) return giveUp('timeout')
        if (current === lock) onHopeless()
        current = fallback
        stopWaiting()
        resolve(take(name, options, body))
      }
      // The Web Locks API refuses a signal together with steal.
      const how = options.steal ? { steal: true } : { signal: waiting.signal }
      const over = (async () => asked.request(name, how, callback))().then(
        () => refusedOrOver(),
        error => refusedOrOver(error ?? new Error()),
      )
    })
  return take
}
