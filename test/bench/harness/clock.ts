const RealDate = globalThis.Date
const realNow = Date.now.bind(Date)
const realMonotonic = performance.now.bind(performance)
let aheadMs = 0

class ShiftedDate extends RealDate {
  constructor(...given: [] | [number]) {
    if (given.length) super(...given)
    else super(realNow() + aheadMs)
  }
  static override now(): number {
    return realNow() + aheadMs
  }
}

/** Time of this process that no client sees shifted: for measuring. */
export const stopwatch = realMonotonic

/** Lets so much time pass for everybody who asks `Date` or `performance.now()`; timers go on as they do. */
export function advance(ms: number): void {
  aheadMs += ms
  globalThis.Date = ShiftedDate as DateConstructor
  performance.now = () => realMonotonic() + aheadMs
}

/** Back to the time of the machine. */
export function restoreClock(): void {
  aheadMs = 0
  globalThis.Date = RealDate
  performance.now = realMonotonic
}
