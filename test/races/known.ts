/**
 * What the engine is known to do wrong, each with the invariants it breaks. A run that breaks one of them in that way ends there and is
 * counted, so that the rest stays watched. A repair takes its line out of `known`: from then on it is a failure.
 */
export const defects = {
  fresh: 'a sign-in that is being saved is ended by the tombstone of one before it',
  blind: 'a sign-out before the first read that looked and could not be marked ends the next sign-in as well',
} as const

export const known: Readonly<Record<string, readonly number[]>> = {
  [defects.fresh]: [3],
  [defects.blind]: [3, 5],
}
