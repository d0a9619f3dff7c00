import { createSession } from '../../src/index.ts'

/**
 * What a request with a fresh token costs over a stubbed fetch, beside the bare stub and a floor (an async function with a header
 * literal). Short slices of all subjects in turn, the median slice of each: noise of the machine hits them alike.
 */
const url = 'https://api.example.com/items'
const response = new Response('ok')
const answered = Promise.resolve(response)
const stub = ((_input: unknown, _init?: RequestInit) => answered) as typeof fetch
const token = 'x'.repeat(800)

const session = createSession({
  resources: 'https://api.example.com',
  grant: async () => ({ access_token: token }),
  fetch: stub,
})
await session.adopt({ access_token: token, expires_in: 3600 })

async function floor(input: string, init?: RequestInit): Promise<Response> {
  return stub(input, { ...init, headers: { ...(init?.headers as object), Authorization: `Bearer ${token}` } })
}

const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }
const subjects: Record<string, () => Promise<Response>> = {
  'bare, url': () => stub(url),
  'floor, url': () => floor(url),
  'latchkey, url': () => session.fetch(url),
  'bare, url + init': () => stub(url, init),
  'floor, url + init': () => floor(url, init),
  'latchkey, url + init': () => session.fetch(url, init),
  'bare again (noise)': () => stub(url),
}

const slice = 2000
const rounds = 200
const times = new Map<string, number[]>()
for (let round = 0; round < rounds + 20; round++) {
  for (const [name, run] of Object.entries(subjects)) {
    const start = performance.now()
    for (let index = 0; index < slice; index++) await run()
    const each = ((performance.now() - start) / slice) * 1000
    if (round >= 20) times.set(name, [...(times.get(name) ?? []), each])
  }
}
const median = (list: number[]) => list.sort((a, b) => a - b)[list.length >> 1] ?? Number.NaN
const bare = median(times.get('bare, url') ?? [])
console.log('µs per request, median of', rounds, 'slices of', slice)
for (const [name, list] of times) {
  const each = median(list)
  console.log(`${name.padEnd(24)} ${each.toFixed(3)}  added ${(each - bare).toFixed(3)}`)
}

if (globalThis.gc) {
  for (const [name, run] of Object.entries(subjects)) {
    const runs = 10_000
    for (let index = 0; index < runs; index++) await run()
    globalThis.gc()
    const before = process.memoryUsage().heapUsed
    for (let index = 0; index < runs; index++) await run()
    console.log(`${name.padEnd(24)} ${((process.memoryUsage().heapUsed - before) / runs).toFixed(0)} B`)
  }
}
