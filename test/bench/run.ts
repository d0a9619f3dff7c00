import { parseArgs } from 'node:util'
import { bytes } from './figures/1-bytes.ts'
import { perRequest } from './figures/2-per-request.ts'
import { throughput } from './figures/3-throughput.ts'
import { storms } from './figures/4-storms.ts'
import { lateRefusals } from './figures/5-late-refusals.ts'
import { lostResponse } from './figures/6-lost-response.ts'
import { endpointDown } from './figures/7-endpoint-down.ts'
import { latency } from './figures/8-latency.ts'
import { scale } from './figures/9-scale.ts'
import type { Figure, FigureContext, Table } from './harness/figure.ts'
import { environment, toMarkdown, write } from './harness/report.ts'
import type { Subject } from './harness/subject.ts'
import { limits, peers } from './subjects/index.ts'
import { latchkeyFrom } from './subjects/latchkey.ts'

/**
 * `npm run bench -- [--figure N]… [--subject part-of-a-name]… [--rounds R] [--smoke] [--latchkey folder]… [--out file]`
 * The limits (bare fetch, floor, ideal) are always there: every figure is a ratio to one of them.
 */
const { values: asked } = parseArgs({
  options: {
    figure: { type: 'string', multiple: true },
    subject: { type: 'string', multiple: true },
    rounds: { type: 'string' },
    smoke: { type: 'boolean', default: false },
    latchkey: { type: 'string', multiple: true },
    out: { type: 'string' },
  },
})

if (!globalThis.gc) throw new Error('Run it with --expose-gc and a fixed young generation: npm run bench')

const dist = new URL('../../dist', import.meta.url).pathname
const latchkeys = [await latchkeyFrom(dist, 'latchkey')]
for (const folder of asked.latchkey ?? []) latchkeys.push(await latchkeyFrom(folder, `latchkey (${folder})`))

const isAsked = ({ name }: Subject) => !asked.subject || asked.subject.some(part => name.includes(part))
const subjects = [...limits, ...[...latchkeys, ...peers].filter(isAsked)]
const numbers = asked.figure?.map(Number) ?? (asked.smoke ? [2, 3, 4, 5, 6, 7, 9] : [1, 2, 3, 4, 5, 6, 7, 8, 9])
const broken: string[] = []

const context: FigureContext = {
  subjects,
  rounds: own => (asked.rounds ? Number(asked.rounds) : own),
  isSmoke: asked.smoke,
  expect(holds, claim) {
    if (!holds) broken.push(claim)
  },
  progress: text => process.stderr.write(`  ${text}\n`),
}

// Some peers leave a promise behind that nobody hears; that must not end the run.
process.on('unhandledRejection', () => undefined)

const figures = [bytes, perRequest, throughput, storms, lateRefusals, lostResponse, endpointDown, latency, scale]

const results: { figure: Figure; tables: Table[]; seconds: number }[] = []
for (const figure of figures.filter(({ number }) => numbers.includes(number))) {
  process.stderr.write(`${figure.number}. ${figure.title}\n`)
  const started = process.hrtime.bigint()
  const tables = await figure.run(context)
  results.push({ figure, tables, seconds: Number(process.hrtime.bigint() - started) / 1e9 })
  // Each figure is kept as it comes: what ends the run takes no more than one.
  write(results, environment(), asked.out)
}
console.log(toMarkdown(results, environment()))
for (const claim of broken) console.error(`Not so: ${claim}`)
// Timers and sockets of peers would keep the process.
process.exit(broken.length ? 1 : 0)
