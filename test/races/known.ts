/**
 * Circumstances under which the engine is known to break an invariant, each with the invariants it breaks. A run that
 * breaks one of them after such a circumstance ends there and is counted, so that the rest stays watched. A repair takes its line away.
 */
export const known = {
  'an answer later than 2 × timeoutMs, and the lock not had in time: the pair is dropped': [2, 3],
  'a sign-in is written again over its attempt while it is renewed: the pair is dropped': [1, 2, 3],
  'a quick retry after a successor was adopted': [2],
  'a write of the same context, outside of the lock, lands on the successor that was renewed meanwhile': [2, 3],
  'an older read that found nothing answers after a newer one': [3],
  'a sign-out before the first read is undone by news': [5],
  'the lock was stolen from a renewal that runs: its place is free before its call ends, its waiters are told signed_out':
    [1, 3],
  'a successor is adopted while the attempt is being written: the attempt takes its place': [2, 3],
  'two sign-ins, each replaced by the other, are written over each other for ever': [4],
  'a tab leaves a sign-in while it renews it: the lock is free for its clones before the call ends': [1, 2, 3],
  'a write that waited for another is not judged again: its sign-in may have ended': [5],
} as const

export type Known = keyof typeof known
