import { advance, stopwatch } from '../harness/clock.ts'
import { type Figure, notAble, type Row } from '../harness/figure.ts'
import { show, stat } from '../harness/stats.ts'
import type { Subject } from '../harness/subject.ts'
import { failureOf, sumOf, withClient } from '../harness/with-client.ts'
import { isLatchkey } from '../subjects/latchkey.ts'

const columns = ['renewals', 'failures', 'sends', 'wall ms']
const everyMs = 0.5
const tokenMs = 10
// The first 401 comes soon, others long after the renewal that it led to.
const refusalMs = (nth: number) => (nth === 0 ? 1 : 1 + ((nth * 7) % 40))

/** The server takes the token back, a steady stream of requests goes on, and the 401s arrive when they like. */
export const lateRefusals: Figure = {
  number: 5,
  title: 'Late 401s',
  async run(context) {
    const count = context.isSmoke ? 100 : 400
    const rounds = context.isSmoke ? 1 : context.rounds(7)
    const rows: Row[] = []
    for (const subject of context.subjects) {
      const unable = notAble(subject, 'renew', columns.length) ?? notAble(subject, 'reactive', columns.length)
      if (unable) {
        rows.push(unable)
        continue
      }
      context.progress(subject.name)
      const runs: Run[] = []
      for (let round = 0; round < rounds; round++) runs.push(await stream(subject, count))
      if (isLatchkey(subject)) {
        context.expect(
          runs.every(({ renewals, failures }) => renewals === 1 && failures === 0),
          `${subject.name} answers late 401s with one renewal`,
        )
      }
      rows.push({
        subject: subject.name,
        cells: [
          show(stat(runs.map(run => run.renewals)), 0),
          show(stat(runs.map(run => run.failures)), 0),
          show(stat(runs.map(run => run.sends)), 0),
          show(stat(runs.map(run => run.wallMs)), 0),
        ],
        data: { runs },
      })
    }
    return [
      {
        title: `${count} requests, one each ${everyMs} ms`,
        note: `${rounds} rounds. The first 401 takes 1 ms, the others 1 to 40; the token endpoint takes ${tokenMs} ms; a 200 comes at once.`,
        columns,
        rows,
      },
    ]
  },
}

interface Run {
  renewals: number
  failures: number
  sends: number
  wallMs: number
}

const stream = (subject: Subject, count: number): Promise<Run> =>
  withClient(subject, { tokenMs, refusalMs }, async (client, server) => {
    const url = `${server.origin}/items`
    await client.fetch(url)
    advance(60_000)
    server.revoke()
    const { renewals, sends } = server.counts
    const calls: Promise<number>[] = []
    const started = stopwatch()
    while (calls.length < count) {
      while (calls.length < count && stopwatch() - started >= calls.length * everyMs) {
        calls.push(failureOf(client.fetch(url)))
      }
      await new Promise(setImmediate)
    }
    const failures = await sumOf(calls)
    const wallMs = stopwatch() - started
    return { renewals: server.counts.renewals - renewals, failures, sends: server.counts.sends - sends, wallMs }
  })
