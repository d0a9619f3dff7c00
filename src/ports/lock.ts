/** What a lock tells its holder. `lost` aborts when the lock is no longer held (a lease that ran out). */
export interface Grip {
  readonly lost?: AbortSignal | undefined
}

/** Who may renew now. `navigator.locks` fits (Web Locks API). */
export interface Lock {
  request(
    name: string,
    options: { signal?: AbortSignal; steal?: boolean },
    // biome-ignore lint/suspicious/noExplicitAny: the Web Locks API types what its callback gets as Lock | null
    callback: (grip?: any) => Promise<void>,
  ): Promise<unknown>
}
