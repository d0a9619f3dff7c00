type Listener<T> = (payload: T) => unknown

/** Typed listeners. One that throws, rejects, hangs or calls back changes nothing for anybody else. */
export class Emitter<Events> {
  private listeners: { [Type in keyof Events]?: Set<{ listener: Listener<never> }> } | undefined

  on<Type extends keyof Events>(type: Type, listener: Listener<Events[Type]>): () => void {
    const entry = { listener }
    this.listeners ??= {}
    const all = this.listeners[type] ?? new Set()
    this.listeners[type] = all.add(entry)
    return () => void all.delete(entry)
  }

  emit<Type extends keyof Events>(type: Type, payload: Events[Type]): void {
    for (const { listener } of [...(this.listeners?.[type] ?? [])]) callSafely(listener, payload as never)
  }

  /** Whether anybody listens: what nobody hears is not built. */
  has(type: keyof Events): boolean {
    return !!this.listeners?.[type]?.size
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
