import { isLatchkey } from '../subjects/latchkey.ts'
import { advance, stopwatch } from './clock.ts'
import { type FigureContext, notAble, type Row, type Table } from './figure.ts'
import { show, stat } from './stats.ts'
import type { StubOptions } from './stub-server.ts'
import type { Subject } from './subject.ts'
import { failureOf, sumOf, withClient } from './with-client.ts'

const columns = ['failures', 'token calls', 'wall ms']
const requests = 24
const patienceMs = 10_000

/** 24 requests in one turn find that their token ended, and the token endpoint does what `options` say. */
export async function outage(
  context: FigureContext,
  title: string,
  tokenCalls: number,
  options: StubOptions,
): Promise<Table> {
  const rounds = context.isSmoke ? 1 : context.rounds(3)
  const rows: Row[] = []
  for (const subject of context.subjects) {
    const unable = notAble(subject, 'renew', columns.length)
    if (unable) {
      rows.push(unable)
      continue
    }
    context.progress(subject.name)
    const runs: { failures: number; tokenCalls: number; wallMs: number }[] = []
    for (let round = 0; round < rounds; round++) runs.push(await run(subject, options))
    if (isLatchkey(subject)) {
      context.expect(
        runs.every(run => run.failures === 0 && run.tokenCalls === tokenCalls),
        `${subject.name}: no failure and ${tokenCalls} token calls`,
      )
    }
    rows.push({
      subject: subject.name,
      cells: [
        show(stat(runs.map(run => run.failures)), 0),
        show(stat(runs.map(run => run.tokenCalls)), 0),
        show(stat(runs.map(run => run.wallMs)), 0),
      ],
      data: { runs },
    })
  }
  return {
    title,
    note: `${rounds} rounds of ${requests} requests at once, the token ended by the clock (for those that act on a 401 only, by the server). Who has not answered after ${patienceMs / 1000} s counts as failed.`,
    columns,
    rows,
  }
}

const run = (subject: Subject, options: StubOptions) =>
  withClient(subject, { tokenMs: 5, ...options }, async (client, server) => {
    const url = `${server.origin}/items`
    await client.fetch(url)
    if (subject.cannot?.proactive) {
      advance(60_000)
      server.revoke()
    } else advance(3_601_000)
    const started = stopwatch()
    let timer: NodeJS.Timeout | undefined
    const tooLate = new Promise<1>(resolve => {
      timer = setTimeout(() => resolve(1), patienceMs)
    })
    const calls = Array.from({ length: requests }, () => Promise.race([failureOf(client.fetch(url)), tooLate]))
    const failures = await sumOf(calls)
    clearTimeout(timer)
    return { failures, tokenCalls: server.counts.tokenCalls, wallMs: stopwatch() - started }
  })
