/** The states a run must have been in for its silence to mean something, each with a floor per 1,000 runs: less than half of the usual. */
export const floors = {
  renewals: 1000,
  joins: 80,
  adoptions: 350,
  'stale 401s': 4,
  'fenced writes': 8,
  'lost answers': 80,
  'lost answers recovered': 25,
  'crashes between answer and write': 6,
  crashes: 140,
  freezes: 100,
  steals: 4,
  'sign-outs during a renewal': 4,
  'sign-ins over another': 250,
  'sign-outs learned elsewhere': 100,
  'late answers': 35,
  'pairs revoked late': 2,
  refusals: 60,
  'reuse seen by the server': 35,
  'back-offs shared': 120,
  'writes that failed': 40,
  'reads that failed': 180,
  'corrupt records met': 140,
  'tokens handed over by message': 100,
  'renewals behind a request': 25,
  'calls aborted': 20,
  'quick retries': 70,
  'successors unsaved': 2,
  evictions: 40,
} as const

export type Reached = keyof typeof floors

export class Coverage {
  readonly counts = new Map<Reached, number>()

  reach(what: Reached): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }

  /** What was reached less often than `runs` runs must reach it. */
  missing(runs: number): string[] {
    return Object.entries(floors)
      .filter(([what, floor]) => (this.counts.get(what as Reached) ?? 0) < (floor * runs) / 1000)
      .map(
        ([what, floor]) => `${what}: ${this.counts.get(what as Reached) ?? 0} of ${Math.ceil((floor * runs) / 1000)}`,
      )
  }

  toString(): string {
    const line = ([what, count]: [string, number]) => `${String(count).padStart(9)}  ${what}`
    return Object.keys(floors)
      .map(what => line([what, this.counts.get(what as Reached) ?? 0]))
      .join('\n')
  }
}
