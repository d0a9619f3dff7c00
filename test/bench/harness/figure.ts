import type { Ability, Subject } from './subject.ts'

export interface Table {
  readonly title: string
  /** How it was measured, for who reads the table alone. */
  readonly note: string
  readonly columns: readonly string[]
  readonly rows: Row[]
}

export interface Row {
  readonly subject: string
  readonly cells: readonly string[]
  /** The readings behind the cells. */
  readonly data?: object
}

export interface FigureContext {
  readonly subjects: readonly Subject[]
  /** The asked-for number of rounds, or the figure's own. */
  rounds(own: number): number
  /** Tiny counts: only what is right or wrong is looked at. */
  readonly isSmoke: boolean
  /** A subject did something that it says it can. */
  expect(holds: boolean, claim: string): void
  readonly progress: (text: string) => void
}

export interface Figure {
  readonly number: number
  readonly title: string
  run(context: FigureContext): Promise<Table[]>
}

export const notAble = (subject: Subject, ability: Ability, columns: number): Row | undefined => {
  const why = subject.cannot?.[ability]
  return why ? { subject: subject.name, cells: [`n/a: ${why}`, ...Array<string>(columns - 1).fill('')] } : undefined
}
