const longestTimeoutMs = 2 ** 31 - 1

/** A timer that never keeps a process alive and never overflows: longer waits end early, so the caller checks the clock again. */
export function startTimer(callback: () => void, ms: number): () => void {
  const timer: unknown = setTimeout(callback, Math.min(Math.max(ms, 0), longestTimeoutMs))
  // Node's timers are objects that hold the process; browsers and React Native give numbers.
  ;(timer as { unref?(): void }).unref?.()
  return () => clearTimeout(timer as number)
}

/**
 * A promise of what comes first: the work, or `late()` after `ms`, which may throw. The work goes on; what it brings later is the caller's to judge.
 * This timer holds the process: somebody awaits it.
 */
export function within<T, U>(work: PromiseLike<T>, ms: number, late: () => U): Promise<T | U> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => {
        try {
          resolve(late())
        } catch (error) {
          // Nobody else would catch it here, and the process would end.
          reject(error)
        }
      },
      Math.min(ms, longestTimeoutMs),
    )
    work.then(
      value => {
        clearTimeout(timer)
        resolve(value)
      },
      error => {
        clearTimeout(timer)
        reject(error)
      },
    )
  })
}

export const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
