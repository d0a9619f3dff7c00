/** The states a run must have been in for its silence to mean something, each with a floor per 1,000 runs. */
export const floors = {
  renewals: 300,
  joins: 20,
  adoptions: 100,
  'stale 401s': 10,
  'fenced writes': 5,
  'lost answers': 20,
  'lost answers recovered': 3,
  'crashes between answer and write': 3,
  crashes: 100,
  freezes: 100,
  steals: 1,
  'sign-outs during a renewal': 4,
  'sign-ins over another': 50,
  'sign-outs learned elsewhere': 20,
  'late answers': 3,
  'pairs revoked late': 1,
  refusals: 20,
  'reuse seen by the server': 5,
  'back-offs shared': 5,
  'writes that failed': 20,
  'reads that failed': 20,
  'corrupt records met': 10,
  'tokens handed over by message': 5,
  'renewals behind a request': 10,
  'calls aborted': 10,
  'quick retries': 10,
  'successors unsaved': 2,
  evictions: 10,
} as const

export type Reached = keyof typeof floors

export class Coverage {
  readonly counts = new Map<Reached, number>()

  /** Runs that ended in a known defect. */
  readonly known = new Map<string, number>()

  end(as: string): void {
    this.known.set(as, (this.known.get(as) ?? 0) + 1)
  }

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
    const reached = Object.keys(floors).map(what => line([what, this.counts.get(what as Reached) ?? 0]))
    return [...reached, ...(this.known.size ? ['Ended in a known defect:'] : []), ...[...this.known].map(line)].join(
      '\n',
    )
  }
}
