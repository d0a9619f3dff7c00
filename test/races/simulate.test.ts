import { expect, test } from 'vitest'
import { describeReport, freshSeed, simulate } from './run.ts'

const runs = 5000

test('no schedule, crash or fault breaks an invariant', { timeout: 120_000 }, async () => {
  const seed = Number(process.env.SIMULATE_SEED ?? freshSeed())
  const report = await simulate({ runs, seed })
  if (report.failure) expect.fail(describeReport(report))
  console.log(`The simulation, SIMULATE_SEED=${seed}: ${describeReport(report)}`)
  expect(report.coverage.missing(runs), `states that were reached too seldom; seed ${seed}`).toEqual([])
})
