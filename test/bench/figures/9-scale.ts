import { advance, stopwatch } from '../harness/clock.ts'
import { type Figure, type FigureContext, notAble, type Row, type Table } from '../harness/figure.ts'
import { show, stat } from '../harness/stats.ts'
import { createStubServer } from '../harness/stub-server.ts'
import type { Client, Subject } from '../harness/subject.ts'
import { failureOf, inWorldOf, sumOf } from '../harness/with-client.ts'
import { createLatchkeySessions, isLatchkey } from '../subjects/latchkey.ts'

const many = 100_000
const some = 2_000
const contexts = 100

/** A session for each of very many users, and very many contexts of one user. */
export const scale: Figure = {
  number: 9,
  title: 'Scale',
  run: async context => [await sessionsTable(context), await contextsTable(context)],
}

interface Crowd {
  readonly title: string
  readonly count: number
  make(index: number): unknown
}

async function sessionsTable(context: FigureContext): Promise<Table> {
  const columns = ['sessions', 'bytes each', 'µs each']
  const rows: Row[] = []
  for (const subject of context.subjects) {
    const unable = notAble(subject, 'scale', columns.length)
    if (unable) {
      rows.push(unable)
      continue
    }
    context.progress(`sessions, ${subject.name}`)
    for (const crowd of await crowdsOf(subject, context.isSmoke)) {
      const rounds = crowd.count === many ? 1 : context.rounds(3)
      const readings: { bytes: number; µs: number }[] = []
      await inWorldOf(subject, createStubServer().fetch, async () => {
        await gather({ ...crowd, count: Math.min(crowd.count, 500) })
        for (let round = 0; round < rounds; round++) readings.push(await gather(crowd))
      })
      rows.push({
        subject: `${subject.name}${crowd.title}`,
        cells: [
          crowd.count.toLocaleString('en'),
          show(stat(readings.map(reading => reading.bytes)), 0),
          show(stat(readings.map(reading => reading.µs)), 1),
        ],
        data: { readings },
      })
    }
  }
  return {
    title: 'A session of its own for each user',
    note: `Once for ${many.toLocaleString('en')}, else medians of some rounds. Bytes: what the heap holds on to after a full collection. All tokens are one string, which counts once.`,
    columns,
    rows,
  }
}

async function crowdsOf(subject: Subject, isSmoke: boolean): Promise<Crowd[]> {
  const server = createStubServer()
  const { origin, tokenEndpoint, fetch } = server
  const world = { origin, tokenEndpoint, fetch, tokens: server.signIn(), obtainedAtMs: Date.now() }
  const count = isSmoke ? 20 : isLatchkey(subject) || subject.name === 'ideal' ? many : some
  const signedIn = { title: ', signed in', count, make: () => subject.create(world) }
  if (!isLatchkey(subject)) return [signedIn]
  const { created, pool } = await createLatchkeySessions(subject, world)
  return [
    { title: ', createSession', count, make: created },
    signedIn,
    { title: ', createSessions', count, make: index => pool(`user-${index}`) },
    { title: ', createSessions, signed in', count, make: index => pool(`signed-in-${index}`).adopt(world.tokens) },
  ]
}

async function gather({ count, make }: Crowd): Promise<{ bytes: number; µs: number }> {
  const all = new Array<unknown>(count)
  globalThis.gc?.()
  const before = process.memoryUsage().heapUsed
  const started = stopwatch()
  for (let index = 0; index < count; index++) {
    const made = make(index)
    all[index] = made instanceof Promise ? await made : made
  }
  const µs = ((stopwatch() - started) * 1000) / count
  globalThis.gc?.()
  const bytes = (process.memoryUsage().heapUsed - before) / count
  for (const made of all) (made as Client | undefined)?.close?.()
  return { bytes, µs }
}

async function contextsTable(context: FigureContext): Promise<Table> {
  const rounds = context.isSmoke ? 1 : context.rounds(3)
  const count = context.isSmoke ? 10 : contexts
  const columns = ['renewals', 'failures', 'wall ms']
  const rows: Row[] = []
  for (const subject of context.subjects) {
    const unable = notAble(subject, 'contexts', columns.length)
    if (unable) {
      rows.push(unable)
      continue
    }
    context.progress(`contexts, ${subject.name}`)
    const runs: { renewals: number; failures: number; wallMs: number }[] = []
    for (let round = 0; round < rounds; round++) runs.push(await together(subject, count))
    if (isLatchkey(subject)) {
      context.expect(
        runs.every(({ renewals, failures }) => renewals === 1 && failures === 0),
        `${subject.name}: ${count} contexts renew once`,
      )
    }
    rows.push({
      subject: subject.name,
      cells: [
        show(stat(runs.map(run => run.renewals)), 0),
        show(stat(runs.map(run => run.failures)), 0),
        show(stat(runs.map(run => run.wallMs)), 0),
      ],
      data: { runs },
    })
  }
  return {
    title: `${count} contexts on one storage`,
    note: `${rounds} rounds. Each context sends one request once the token that all share has ended; the token endpoint takes 20 ms and rotates without a reuse window. Locks and channels are the platform's.`,
    columns,
    rows,
  }
}

const together = (subject: Subject, count: number) => {
  const server = createStubServer({ tokenMs: 20 })
  return inWorldOf(subject, server.fetch, async () => {
    const { origin, tokenEndpoint, fetch } = server
    const shared = new Map<string, string>()
    const tokens = server.signIn()
    const clients: Client[] = []
    const world = { origin, tokenEndpoint, fetch, tokens, obtainedAtMs: Date.now(), shared }
    for (let index = 0; index < count; index++) clients.push(await subject.create(world))
    await sumOf(clients.map(client => failureOf(client.fetch(`${origin}/items`))))
    advance(3_601_000)
    const started = stopwatch()
    const failures = await sumOf(clients.map(client => failureOf(client.fetch(`${origin}/items`))))
    const wallMs = stopwatch() - started
    for (const client of clients) client.close?.()
    return { renewals: server.counts.renewals, failures, wallMs }
  })
}
