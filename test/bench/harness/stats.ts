/** Several readings of one thing. */
export interface Stat {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function stat(values: readonly number[]): Stat {
  const sorted = [...values].sort((a, b) => a - b)
  return { median: quantile(sorted, 0.5), min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN }
}

/** Of a sorted list, between its neighbours where it falls between two. */
export function quantile(sorted: readonly number[], share: number): number {
  const place = (sorted.length - 1) * share
  const below = sorted[Math.floor(place)] ?? Number.NaN
  const above = sorted[Math.ceil(place)] ?? Number.NaN
  return below + (above - below) * (place - Math.floor(place))
}

export const median = (values: readonly number[]) => stat(values).median

/** `1.02 (0.98 to 1.07)`; one value where all are alike. */
export function show({ median, min, max }: Stat, digits = 2): string {
  const text = (value: number) =>
    value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
  return text(min) === text(max) ? text(median) : `${text(median)} (${text(min)} to ${text(max)})`
}
