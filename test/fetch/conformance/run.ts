import { mkdir } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'
import { nodeFetchSuites } from './node-fetch.ts'
import { bundle, cache, countPassed, here, run, type Suite } from './suite.ts'
import { undiciSuite } from './undici.ts'

/**
 * `npm run test:conformance [-- --verbose] [-- undici | node-fetch]`: the published tests of other people's fetches, each run twice: with the bare fetch, and with
 * `session.fetch` over it. Every test that passes with the one has to pass with the other. No suite is part of this repository: one comes
 * with its npm package (`npm ci --prefix test/fetch/conformance`), one by git. One that can not be had is named, and fails the run
 * only where the other one can't be had either.
 */
const { values: flags, positionals: only } = parseArgs({
  options: { verbose: { type: 'boolean', default: false } },
  allowPositionals: true,
})

await mkdir(cache, { recursive: true })
await build({
  entryPoints: [here('../../../src/index.ts')],
  outfile: bundle,
  bundle: true,
  format: 'cjs',
  platform: 'node',
  logLevel: 'error',
})

const suites: Suite[] = []
for (const [name, open] of [
  ['undici', undiciSuite],
  ['node-fetch', nodeFetchSuites],
] as const) {
  if (only.length && !only.includes(name)) continue
  try {
    suites.push(...[await open()].flat())
  } catch (error) {
    console.log(`${name}: NOT RUN: ${error instanceof Error ? error.message : error}`)
    if (name === 'undici' && process.env.UNDICI_REPOSITORY) process.exitCode = 1
  }
}
if (!suites.length) process.exitCode = 1

for (const suite of suites) {
  const bare = await run(suite, false)
  const ours = await run(suite, true)
  const worse = [...bare.all].filter(([name, { isPassed }]) => isPassed && !ours.all.get(name)?.isPassed)
  const isWhole = countPassed(bare) >= suite.least && ours.sends > 0
  console.log(
    `${suite.name}, over ${suite.fetch}: ${countPassed(bare)} of ${bare.all.size} pass; under session.fetch ${countPassed(ours)} of ${ours.all.size}, with ${ours.sends} tokens sent; ${worse.length} worse`,
  )
  if (!isWhole) console.log(`  TOO FEW: at least ${suite.least} have to pass, with tokens sent`)
  for (const [name] of worse) console.log(`  WORSE: ${name}\n    ${ours.all.get(name)?.error ?? 'it did not run'}`)
  if (flags.verbose)
    for (const [name, { isPassed }] of bare.all) if (!isPassed) console.log(`  fails bare too: ${name}`)
  if (worse.length || !isWhole) process.exitCode = 1
}
