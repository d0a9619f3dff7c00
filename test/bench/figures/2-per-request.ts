import { stopwatch } from '../harness/clock.ts'
import { type Figure, type FigureContext, notAble, type Row, type Table } from '../harness/figure.ts'
import { median, show, stat } from '../harness/stats.ts'
import { createStubServer } from '../harness/stub-server.ts'
import type { InputKind, Subject } from '../harness/subject.ts'
import { inWorldOf } from '../harness/with-client.ts'
import { bare } from '../subjects/bare.ts'
import { ideal } from '../subjects/ideal.ts'

type Mode = 'one at a time' | 'at once'
type Answer = { readonly status: number }
type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Answer>

const url = 'https://api.example.com/items'
const kinds: Readonly<Record<InputKind, (fetch: Fetch) => Promise<Answer>>> = {
  url: fetch => fetch(url),
  'url + init': fetch => fetch(url, init),
  URL: fetch => fetch(parsed),
  // A new one each time: who is made from a Request follows its signal for as long as that lives.
  Request: fetch => fetch(new Request(url, own)),
}
const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"a":1}' }
const parsed = new URL(url)
const own = { headers: { accept: 'application/json' } }

const response = new Response('ok')
const answered = Promise.resolve(response)
const shared = () => answered
const fresh = () => Promise.resolve(new Response('ok'))

const atOnce = 1000
const sliceMs = 4

/** A subject over the stub that suits it, and the bare stub of the same kind to compare with. */
interface Lane {
  readonly subject: Subject
  readonly fetch: Fetch
  readonly isOwn: boolean
  /** How many requests fit into a slice. */
  count: number
}

/** What a request with a fresh token costs over a stubbed fetch: short slices of all subjects in turn, so that noise hits them alike. */
export const perRequest: Figure = {
  number: 2,
  title: 'Added per request, fresh token, stubbed fetch',
  async run(context) {
    const lanes: Lane[] = []
    // Bare against bare says how noisy the run was; a response for each call costs something of its own.
    for (const isOwn of [false, true]) lanes.push(await laneOf(bare, isOwn))
    const again = { ...(await laneOf(bare, false)), subject: { ...bare, name: 'bare fetch again (noise)' } }
    for (const subject of context.subjects) {
      if (!notAble(subject, 'attach', 1)) lanes.push(await laneOf(subject, !!subject.readsBody))
    }
    lanes.push(again)
    const tables: Table[] = []
    for (const mode of ['one at a time', 'at once'] as const) {
      context.progress(`time, ${mode}`)
      tables.push(await timeTable(context, lanes, mode))
    }
    context.progress('heap')
    tables.push(await heapTable(context, lanes))
    return tables
  },
}

async function laneOf(subject: Subject, isOwn: boolean): Promise<Lane> {
  const server = createStubServer()
  const stub = (isOwn ? fresh : shared) as typeof globalThis.fetch
  const client = await inWorldOf(subject, stub, async () => {
    const world = { origin: server.origin, tokenEndpoint: server.tokenEndpoint, fetch: stub }
    return subject.create({ ...world, tokens: server.signIn(), obtainedAtMs: Date.now() })
  })
  return { subject, fetch: client.fetch, isOwn, count: 100 }
}

async function slice({ fetch, count, subject }: Lane, kind: InputKind, mode: Mode): Promise<number> {
  const run = kinds[kind]
  return inWorldOf(subject, globalThis.fetch, async () => {
    const started = stopwatch()
    if (mode === 'one at a time') for (let index = 0; index < count; index++) await run(fetch)
    else {
      const calls = new Array<Promise<Answer>>(atOnce)
      for (let index = 0; index < atOnce; index++) calls[index] = run(fetch)
      await Promise.all(calls)
    }
    return ((stopwatch() - started) * 1000) / (mode === 'at once' ? atOnce : count)
  })
}

async function timeTable(context: FigureContext, lanes: Lane[], mode: Mode): Promise<Table> {
  const rounds = context.isSmoke ? 1 : context.rounds(mode === 'at once' ? 15 : 40)
  const added = new Map<Lane, Map<InputKind, number[]>>(lanes.map(lane => [lane, new Map()]))
  for (const kind of Object.keys(kinds) as InputKind[]) {
    const able = lanes.filter(({ subject }) => subject.inputs.includes(kind))
    for (const lane of able) {
      lane.count = context.isSmoke ? 5 : 300
      const each = await slice(lane, kind, mode)
      if (!context.isSmoke) lane.count = Math.min(Math.max(Math.round((sliceMs * 1000) / each), 30), 4000)
    }
    for (let round = 0; round < rounds; round++) {
      const readings = new Map<Lane, number>()
      for (let place = 0; place < able.length; place++) {
        // Another one first each time: who comes after whom must not matter.
        const lane = able[(place + round) % able.length] as Lane
        globalThis.gc?.({ type: 'minor' })
        readings.set(lane, await slice(lane, kind, mode))
      }
      for (const lane of able) {
        const beside = able.find(({ subject, isOwn }) => subject === bare && isOwn === lane.isOwn) as Lane
        const list = added.get(lane)?.get(kind) ?? []
        added.get(lane)?.set(kind, list)
        list.push((readings.get(lane) ?? Number.NaN) - (readings.get(beside) ?? Number.NaN))
      }
    }
  }
  const byHand = added.get(lanes.find(({ subject }) => subject === ideal) as Lane)
  const rows = lanes
    .filter(({ subject }) => subject !== bare)
    .map((lane): Row => {
      const readings = [...(added.get(lane) as Map<InputKind, number[]>)]
      return {
        subject: lane.subject.name,
        cells: (Object.keys(kinds) as InputKind[]).map(kind => {
          const list = added.get(lane)?.get(kind)
          if (!list) return `n/a: takes no ${kind}`
          const ratio = median(list) / median(byHand?.get(kind) ?? [])
          return `${show(stat(list))}, ${ratio.toFixed(2)} × ideal`
        }),
        data: Object.fromEntries(readings.map(([kind, list]) => [kind, stat(list)])),
      }
    })
  return {
    title: mode === 'at once' ? `µs added, ${atOnce.toLocaleString('en')} at once` : 'µs added, one at a time',
    note: `Medians of ${rounds} slices of ${sliceMs} ms and more beside a slice of the bare stub in the same round. Libraries that read or clone the body get a response each, and so does the stub that they are compared with.`,
    columns: Object.keys(kinds),
    rows: [...withoutToken(context, kindsCount), ...rows],
  }
}

const kindsCount = Object.keys(kinds).length

const withoutToken = (context: FigureContext, columns: number): Row[] =>
  context.subjects.flatMap(subject => (subject === bare ? [] : (notAble(subject, 'attach', columns) ?? [])))

async function heapTable(context: FigureContext, lanes: Lane[]): Promise<Table> {
  const rounds = context.isSmoke ? 1 : context.rounds(7)
  const columns = ['url, one at a time', 'url, at once', 'url + init, one at a time', 'url + init, at once']
  const plans = (['url', 'url + init'] as const).flatMap(kind =>
    (['one at a time', 'at once'] as const).map(mode => ({ kind, mode })),
  )
  const bytes = new Map<Lane, number[][]>()
  for (const lane of lanes) {
    const list: number[][] = []
    for (const { kind, mode } of plans) {
      // What allocates much shows it in fewer runs.
      lane.count = context.isSmoke ? 5 : lane.subject.readsBody ? 100 : atOnce
      if (!context.isSmoke) await slice(lane, kind, mode)
      const readings: number[] = []
      for (let round = 0; round < rounds; round++) {
        globalThis.gc?.({ type: 'minor' })
        const before = process.memoryUsage().heapUsed
        await slice(lane, kind, mode)
        const after = process.memoryUsage().heapUsed
        readings.push((after - before) / (mode === 'at once' ? atOnce : lane.count))
      }
      list.push(readings)
    }
    bytes.set(lane, list)
  }
  const rows = lanes
    .filter(({ subject }) => subject !== bare)
    .map((lane): Row => {
      const beside = lanes.find(({ subject, isOwn }) => subject === bare && isOwn === lane.isOwn) as Lane
      const cells = plans.map((_, at) => {
        const limit = median(bytes.get(beside)?.[at] ?? [])
        return show(stat((bytes.get(lane)?.[at] ?? []).map(value => value - limit)), 0)
      })
      return { subject: lane.subject.name, cells }
    })
  return {
    title: 'Heap bytes added per request',
    note: `Medians of ${rounds} runs of 1,000 requests in a young generation that holds them all, less what the bare stub allocates in the same loop.`,
    columns,
    rows,
  }
}
