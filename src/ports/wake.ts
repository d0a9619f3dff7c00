/**
 * Tells that the app may have slept, or that the network is back (online, visible, pageshow, AppState). A hint, never a need.
 * Takes a listener, returns how to stop.
 */
export type Wake = (listener: () => void) => () => void
