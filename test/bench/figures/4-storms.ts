import { advance, stopwatch } from '../harness/clock.ts'
import { type Figure, type FigureContext, notAble, type Row, type Table } from '../harness/figure.ts'
import { type Stat, show, stat } from '../harness/stats.ts'
import type { Subject } from '../harness/subject.ts'
import { failureOf, sumOf, withClient } from '../harness/with-client.ts'
import { ideal } from '../subjects/ideal.ts'
import { isLatchkey } from '../subjects/latchkey.ts'

type Kind = 'proactive' | 'reactive'

interface Storm {
  tokenCalls: number
  failures: number
  sends: number
  wallMs: number
  peakBytes: number
}

const columns = ['token calls', 'failures', 'sends', 'time ÷ ideal', 'peak heap ÷ ideal', 'second expiry', 'µs each']
const tokenMs = 20

/** So many requests in one turn find that their token ended: by the clock, or by the server's 401. Then an hour later once more. */
export const storms: Figure = {
  number: 4,
  title: 'Expiry storms',
  async run(context) {
    const tables: Table[] = []
    const slow = new Set<Subject>()
    const plans: [number, number][] = context.isSmoke
      ? [[100, 1]]
      : [
          [1_000, 5],
          [10_000, 3],
          [100_000, 3],
        ]
    for (const kind of ['proactive', 'reactive'] as const) {
      for (const [size, ownRounds] of plans) {
        tables.push(await table(context, kind, size, context.isSmoke ? 1 : context.rounds(ownRounds), slow))
      }
      slow.clear()
    }
    return tables
  },
}

async function table(
  context: FigureContext,
  kind: Kind,
  size: number,
  rounds: number,
  slow: Set<Subject>,
): Promise<Table> {
  const rows: Row[] = []
  for (const subject of context.subjects) {
    const unable = notAble(subject, 'renew', columns.length) ?? notAble(subject, kind, columns.length)
    if (unable) {
      rows.push(unable)
      continue
    }
    if (slow.has(subject) || (size > 10_000 && subject !== ideal && !isLatchkey(subject))) {
      rows.push({
        subject: subject.name,
        cells: [
          slow.has(subject)
            ? 'not run: the smaller storm took over 0.4 s, or many token calls'
            : 'not run: for the limits only',
          ...Array<string>(columns.length - 1).fill(''),
        ],
      })
      continue
    }
    context.progress(`${kind}, ${size}: ${subject.name}`)
    const own: [Storm, Storm][] = []
    const ratios: number[] = []
    const heaps: number[] = []
    for (let round = 0; round < rounds; round++) {
      const byHand = await storm(ideal, kind, size)
      const [first, second] = await storm(subject, kind, size)
      own.push([first, second])
      ratios.push((first.wallMs - tokenMs) / (byHand[0].wallMs - tokenMs))
      heaps.push(first.peakBytes / byHand[0].peakBytes)
      if (size >= 1000 && subject !== ideal && !isLatchkey(subject) && (first.wallMs > 400 || first.tokenCalls > 10))
        slow.add(subject)
      if (first.wallMs > 2000) break
    }
    const firsts = own.map(([first]) => first)
    const seconds = own.map(([, second]) => second)
    const each = stat(firsts.map(({ wallMs }) => ((wallMs - tokenMs) * 1000) / size))
    if (isLatchkey(subject) || subject === ideal) {
      const isClean = own.flat().every(({ tokenCalls, failures }) => tokenCalls === 1 && failures === 0)
      context.expect(isClean, `${subject.name} renews once in a ${kind} storm of ${size}, also at the second expiry`)
    }
    rows.push({
      subject: subject.name,
      cells: [
        count(firsts, 'tokenCalls'),
        count(firsts, 'failures'),
        count(firsts, 'sends'),
        show(stat(ratios)),
        show(stat(heaps)),
        `${count(seconds, 'tokenCalls')} token calls, ${count(seconds, 'failures')} failures`,
        show(each, 1),
      ],
      data: { firsts, seconds, ratios, heaps, each: each satisfies Stat },
    })
  }
  return {
    title: `${size.toLocaleString('en')} at once, ${kind}`,
    note: `Medians of ${rounds} rounds, each beside the ideal; the token endpoint takes ${tokenMs} ms. Time is what is beyond those; "µs each" is that by request.`,
    columns,
    rows,
  }
}

function count(storms: readonly Storm[], name: 'tokenCalls' | 'failures' | 'sends'): string {
  const { median, min, max } = stat(storms.map(storm => storm[name]))
  return min === max ? median.toLocaleString('en') : show({ median, min, max }, 0)
}

const patienceMs = 20_000

/** Nobody waits for longer: who has not answered by then counts as failed. */
const giveUp = (failures: number) =>
  new Promise<number>(resolve => {
    setTimeout(() => resolve(failures), patienceMs).unref()
  })

async function storm(subject: Subject, kind: Kind, size: number): Promise<[Storm, Storm]> {
  let peak = 0
  const watch = () => {
    peak = Math.max(peak, process.memoryUsage().heapUsed)
  }
  return withClient(subject, { tokenMs, watch, watchEvery: Math.ceil(size / 10) }, async (client, server) => {
    const url = `${server.origin}/items`
    const strike = async (): Promise<Storm> => {
      // An hour for a token of an hour, or a minute, so that it is no brand-new token that the server takes back.
      advance(kind === 'proactive' ? 3_601_000 : 60_000)
      if (kind === 'reactive') server.revoke()
      const { tokenCalls, sends } = server.counts
      globalThis.gc?.()
      const before = process.memoryUsage().heapUsed
      peak = before
      const started = stopwatch()
      const calls = new Array<Promise<number>>(size)
      for (let index = 0; index < size; index++) calls[index] = failureOf(client.fetch(url))
      const failures = await Promise.race([sumOf(calls), giveUp(size)])
      const wallMs = stopwatch() - started
      watch()
      return {
        tokenCalls: server.counts.tokenCalls - tokenCalls,
        failures,
        sends: server.counts.sends - sends,
        wallMs,
        peakBytes: peak - before,
      }
    }
    // Once through, so that nobody pays for the first call.
    await client.fetch(url)
    return [await strike(), await strike()]
  })
}
