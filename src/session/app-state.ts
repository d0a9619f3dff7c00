import type { Wake } from '../ports/wake.ts'
import { stopOf } from './native-listener.ts'

/** What is needed of React Native's `AppState`. */
export interface AppStateLike {
  readonly currentState?: string | null | undefined
  addEventListener(type: 'change', listener: (state: string) => void): unknown
}

/** The app is back in the foreground. `inactive` alone is none: Face ID, a notification or an Always-On display. */
export function appState(AppState: AppStateLike): Wake {
  return listener => {
    // Started by a push, the app is in the background from the first.
    let wasAway = AppState.currentState === 'background'
    const onChange = (state: string) => {
      if (state === 'background') wasAway = true
      if (state !== 'active' || !wasAway) return
      wasAway = false
      listener()
    }
    return stopOf(AppState, 'change', onChange, () => AppState.addEventListener('change', onChange))
  }
}
