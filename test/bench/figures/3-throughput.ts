import { stopwatch } from '../harness/clock.ts'
import { type Figure, type FigureContext, notAble, type Row, type Table } from '../harness/figure.ts'
import { startLoopbackServer } from '../harness/loopback-server.ts'
import { quantile, show, stat } from '../harness/stats.ts'
import { createStubServer } from '../harness/stub-server.ts'
import type { Client, Subject } from '../harness/subject.ts'
import { inWorldOf } from '../harness/with-client.ts'
import { bare } from '../subjects/bare.ts'

const slice = 256

/** Requests per second over real HTTP on the loopback address, each slice beside one of the bare fetch given the same header literal. */
export const throughput: Figure = {
  number: 3,
  title: 'Requests per second over loopback HTTP',
  async run(context) {
    const api = await startLoopbackServer()
    try {
      const tables: Table[] = []
      for (const inFlight of [1, 64]) {
        context.progress(`${inFlight} in flight`)
        tables.push(await table(context, api.origin, inFlight))
      }
      return tables
    } finally {
      await api.stop()
    }
  },
}

async function table(context: FigureContext, origin: string, inFlight: number): Promise<Table> {
  const rounds = context.isSmoke ? 1 : context.rounds(inFlight === 1 ? 15 : 31)
  const count = context.isSmoke ? 16 : slice
  const columns = ['requests per second', '÷ bare fetch', '÷ bare fetch, fastest quarter of the slices']
  const fetch = globalThis.fetch
  const server = createStubServer()
  const tokens = server.signIn()
  const headers = { Authorization: `Bearer ${tokens.access_token}` }
  const limit: Client = { fetch: url => fetch(url as string, { headers }) }
  const clients: [Subject, Client][] = []
  for (const subject of [...context.subjects, { ...bare, name: 'bare fetch again (noise)' }]) {
    if (subject.name.startsWith(bare.name)) clients.push([subject, limit])
    else if (!notAble(subject, 'attach', 1)) {
      const world = { origin, tokenEndpoint: server.tokenEndpoint, fetch, tokens, obtainedAtMs: Date.now() }
      clients.push([subject, await inWorldOf(subject, fetch, async () => subject.create(world))])
    }
  }
  const rates = new Map<Subject, number[]>(clients.map(([subject]) => [subject, []]))
  const besides = new Map<Subject, number[]>(clients.map(([subject]) => [subject, []]))
  const ratios = new Map<Subject, number[]>(clients.map(([subject]) => [subject, []]))
  for (let round = -2; round < rounds; round++) {
    for (const [subject, client] of clients) {
      // In turn: bare first, then the subject first, so that a drift favours neither.
      const run = () => inWorldOf(subject, fetch, () => rateOf(client, `${origin}/items`, count, inFlight))
      const first = round % 2 ? await run() : await rateOf(limit, `${origin}/items`, count, inFlight)
      const second = round % 2 ? await rateOf(limit, `${origin}/items`, count, inFlight) : await run()
      const [own, beside] = round % 2 ? [first, second] : [second, first]
      if (round < 0) continue
      rates.get(subject)?.push(own)
      besides.get(subject)?.push(beside)
      ratios.get(subject)?.push(own / beside)
    }
  }
  const rows = clients.map(([subject]): Row => {
    const own = stat(rates.get(subject) ?? [])
    const ratio = stat(ratios.get(subject) ?? [])
    const fastest = quick(rates.get(subject) ?? []) / quick(besides.get(subject) ?? [])
    return {
      subject: subject.name,
      cells: [show(own, 0), show(ratio), fastest.toFixed(2)],
      data: { own, ratio, fastest },
    }
  })
  return {
    title: `${inFlight} in flight`,
    note: `Medians of ${rounds} slices of ${count} requests, each paired with one of the bare fetch. On a machine that others use, the fastest quarter of a subject's slices against that of the bare ones is the steadier ratio. The body is read. axios and the Azure pipeline run over the same fetch.`,
    columns,
    rows,
  }
}

/** What a quarter of the slices reached. */
const quick = (rates: readonly number[]) =>
  quantile(
    [...rates].sort((a, b) => a - b),
    0.75,
  )

async function rateOf(client: Client, url: string, count: number, inFlight: number): Promise<number> {
  let sent = 0
  const started = stopwatch()
  const work = async () => {
    while (sent < count) {
      sent++
      const answer: { status: number; text?(): Promise<string>; bodyUsed?: boolean } = await client.fetch(url)
      if (answer.status !== 200) throw new Error(`The API answered ${answer.status}.`)
      if (typeof answer.text === 'function' && answer.bodyUsed !== true) await answer.text()
    }
  }
  await Promise.all(Array.from({ length: inFlight }, work))
  return (count * 1000) / (stopwatch() - started)
}
