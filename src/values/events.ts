type Listener<T> = (payload: T) => unknown

/** Typed listeners. One that throws, rejects, hangs or calls back changes nothing for anybody else. */
export interface Emitter<Events> {
  on<Type extends keyof Events>(type: Type, listener: Listener<Events[Type]>): () => void
  emit<Type extends keyof Events>(type: Type, payload: Events[Type]): void
  /** Whether anybody listens: what nobody hears is not built. */
  has(type: keyof Events): boolean
}

export function createEmitter<Events>(): Emitter<Events> {
  const listeners: { [Type in keyof Events]?: Set<{ listener: Listener<never> }> } = {}
  return {
    on(type, listener) {
      const entry = { listener }
      const all = listeners[type] ?? new Set()
      listeners[type] = all.add(entry)
      return () => {
        all.delete(entry)
      }
    },
    emit(type, payload) {
      for (const { listener } of [...(listeners[type] ?? [])]) callSafely(listener, payload as never)
    },
    has: type => !!listeners[type]?.size,
  }
}

/** The listener's own failure is the app's to see, in the console, and nobody's to suffer. */
export function callSafely<T>(listener: Listener<T>, payload: T): void {
  const report = (error: unknown) => globalThis.console?.error('A Latchkey listener failed:', error)
  try {
    Promise.resolve(listener(payload)).catch(report)
  } catch (error) {
    report(error)
  }
}
