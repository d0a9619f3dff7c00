import { expect, test } from 'vitest'
import { describeReport, simulate } from '../races/run.ts'

// Always the same runs: whether a mutant is found must not be a matter of luck.
test('the simulation, in short', { timeout: 10_000 }, async () => {
  const { failure, ...report } = await simulate({ runs: 120, seed: 1, isQuick: true })
  expect(failure && describeReport({ ...report, failure })).toBeUndefined()
})
