/**
 * What the engine is known to do wrong, each with the invariants it breaks. A run that breaks one of them in that way ends there and is
 * counted, so that the rest stays watched. A repair takes its line out of `known`: from then on it is a failure.
 */
export const defects = {
  expired: 'what was adopted in place of a renewal has expired, and is sent',
  late: 'a pair that came after 2 × timeoutMs is unknown to the renewal that holds the lock',
  waiter: 'a renewal that met another sign-in keeps its waiters until the lock is free, also after a sign-out',
  tombstone: 'a tombstone read where a record that was handed over is saved counts for nothing',
  empty: 'an empty storage, read before a sign-in was saved, ends it',
  write: 'a write that waited for another is not judged again: its sign-in may have ended',
} as const

export const known: Readonly<Record<string, readonly number[]>> = {
  [defects.expired]: [5],
  [defects.late]: [2],
  [defects.waiter]: [4],
  [defects.tombstone]: [5],
  [defects.empty]: [3],
  [defects.write]: [5],
}
