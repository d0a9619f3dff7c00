import { startTimer } from '../values/timers.ts'
import type { Access } from './access.ts'
import type { TokenManager } from './token-manager.ts'

const leastPauseMs = 1000

/** Renews by a timer, so that even the first request after a pause finds a fresh token. A convenience: nothing depends on the timer. */
export function keepFresh(manager: TokenManager, access: Access): { check(): void; stop(): void } {
  let stopTimer: (() => void) | undefined

  function check(): void {
    stopTimer?.()
    const { held } = manager
    // Nobody asked for background traffic of a hidden page; being shown again is a wake, which checks.
    if (!held || globalThis.document?.visibilityState === 'hidden') return
    if (manager.remainingMs() > 0) access.peek()
    else void access.get({}).catch(() => undefined)
    const dueMs = manager.remainingMs() - held.life.aheadMs
    stopTimer = startTimer(check, Math.max(dueMs, leastPauseMs))
  }

  const unsubscribe = manager.subscribe(check)
  check()
  return {
    check,
    stop() {
      unsubscribe()
      stopTimer?.()
    },
  }
}
