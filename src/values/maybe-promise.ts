/** A value now, or a promise of it: what lets a synchronous storage be read in the caller's own tick. */
export type MaybePromise<T> = T | Promise<T>

export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof (value as PromiseLike<unknown> | undefined)?.then === 'function'

/** `next(value)` in the same tick if the value is there already, else when it comes. */
export function chain<T, U>(value: MaybePromise<T>, next: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return isThenable(value) ? (value.then(next) as Promise<U>) : next(value)
}
