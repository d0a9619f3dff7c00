/**
 * Circumstances under which the engine is known to break an invariant, each with the invariants it breaks. A run that
 * breaks one of them after such a circumstance ends there and is counted, so that the rest stays watched. A repair takes its line away.
 */
export const known = {
  'an answer later than 2 × timeoutMs, and the lock not had in time: the pair is dropped': [2, 3],
  'a sign-in is written again over its attempt while it is renewed: the pair is dropped': [1, 2, 3],
  'a write that waited for another is not judged again: its sign-in may have ended': [5],
  'a sign-out before the first read, which fails, ends a later sign-in of another context': [3, 5],
} as const

export type Known = keyof typeof known
