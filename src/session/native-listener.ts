/** Subscribes, and gives how to stop: a function, `{ remove }`, or `removeEventListener` of the module (React Native < 0.65). */
export function stopOf(
  module: object,
  type: string | undefined,
  listener: unknown,
  subscribe: () => unknown,
): () => void {
  let subscription: unknown
  try {
    subscription = subscribe()
  } catch {
    // A hint is never needed.
    return () => undefined
  }
  return () => {
    try {
      const { remove } = (subscription ?? {}) as { remove?: unknown }
      const { removeEventListener } = module as { removeEventListener?: unknown }
      if (typeof subscription === 'function') subscription()
      else if (typeof remove === 'function') remove.call(subscription)
      else if (typeof removeEventListener === 'function') {
        removeEventListener.apply(module, type === undefined ? [listener] : [type, listener])
      }
    } catch {
      // It listens on, to nothing that does harm.
    }
  }
}
