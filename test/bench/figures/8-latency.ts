import { advance, stopwatch } from '../harness/clock.ts'
import { type Figure, notAble, type Row } from '../harness/figure.ts'
import { median, quantile, show, stat } from '../harness/stats.ts'
import type { Subject } from '../harness/subject.ts'
import { failureOf, withClient } from '../harness/with-client.ts'

const columns = [
  'p50 without expiry, ms',
  'p99 without',
  'p50 through an expiry',
  'p99 through',
  'p99 ÷ p99 without',
  'renewals',
  'failures',
]
const tokenMs = 50
const answerMs = 5
const everyMs = 2
const lifetimeMs = 3_600_000

/** How much of a renewal the requests around it feel: a steady stream through the last half minute of each token. */
export const latency: Figure = {
  number: 8,
  title: 'Renewal latency hidden',
  async run(context) {
    const expiries = context.isSmoke ? 2 : context.rounds(100)
    const rows: Row[] = []
    for (const subject of context.subjects) {
      const unable = notAble(subject, 'renew', columns.length) ?? notAble(subject, 'proactive', columns.length)
      if (unable) {
        rows.push(unable)
        continue
      }
      context.progress(subject.name)
      const { quiet, through, renewals, failures } = await live(subject, expiries)
      const ratios = through.map((list, at) => p(list, 0.99) / p(quiet[at] ?? [], 0.99))
      const cells = [p(quiet.flat(), 0.5), p(quiet.flat(), 0.99), p(through.flat(), 0.5), p(through.flat(), 0.99)]
      rows.push({
        subject: subject.name,
        cells: [
          ...cells.map(value => value.toFixed(1)),
          `${(p(through.flat(), 0.99) / p(quiet.flat(), 0.99)).toFixed(2)}; by expiry ${show(stat(ratios))}`,
          String(renewals),
          String(failures),
        ],
        data: { cells, ratio: median(ratios), renewals, failures },
      })
    }
    return [
      {
        title: `${expiries} expiries, a token endpoint of ${tokenMs} ms`,
        note: `One request each ${everyMs} ms, answered after ${answerMs} ms. Each token's last half minute is reached by the clock, in mid-stream; 25 s later, the renewal long done, the token would have ended. Before each, the same stream with nothing to renew.`,
        columns,
        rows,
      },
    ]
  },
}

const p = (values: readonly number[], share: number) =>
  quantile(
    [...values].sort((a, b) => a - b),
    share,
  )

const live = (subject: Subject, expiries: number) =>
  withClient(subject, { tokenMs, answerMs }, async (client, server) => {
    const url = `${server.origin}/items`
    const quiet: number[][] = []
    const through: number[][] = []
    let failures = 0
    const call = async () => {
      const started = stopwatch()
      failures += await failureOf(client.fetch(url))
      return stopwatch() - started
    }
    await stream(call, 10)
    advance(26_000)
    const before = server.counts.renewals
    for (let expiry = 0; expiry < expiries; expiry++) {
      quiet.push(await stream(call, 20))
      // Inside every ahead window, before the end.
      advance(lifetimeMs - 51_000)
      const around = await stream(call, 30)
      advance(26_000)
      around.push(...(await stream(call, 20)))
      through.push(around)
    }
    return { quiet, through, renewals: server.counts.renewals - before, failures }
  })

/** The milliseconds that each of the requests took, one sent each so many milliseconds. */
async function stream(call: () => Promise<number>, count: number): Promise<number[]> {
  const started = stopwatch()
  const calls: Promise<number>[] = []
  while (calls.length < count) {
    while (calls.length < count && stopwatch() - started >= calls.length * everyMs) calls.push(call())
    await new Promise(setImmediate)
  }
  return Promise.all(calls)
}
