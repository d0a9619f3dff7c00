import { readFileSync, writeFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { QueryClient } from '@tanstack/query-core'
import openapiTS, { astToString } from 'openapi-typescript'
import { openapi } from '../../demo/server/openapi.ts'
import { createSession, isSessionError, refreshTokenGrant } from '../../src/index.ts'
import { besideTests } from './beside.ts'
import type { Driven, Fetching } from './recipe.ts'
import { createClientsServer } from './server.ts'

/**
 * `npm run test:clients [-- --write]`: each client of docs/clients.md, made by the code of its recipe, over real HTTP through an expiry
 * with 20 concurrent calls, an upload through another, and 21 calls of a dead session. Checks that the page shows that code and what was measured; `--write` puts it there.
 */
const clients: readonly [file: string, name: string][] = [
  ['ky', 'ky'],
  ['axios', 'axios'],
  ['ofetch', 'ofetch'],
  ['wretch', 'wretch'],
  ['openapi-fetch', 'openapi-fetch'],
  ['apollo', 'Apollo Client'],
  ['urql', 'urql'],
  ['graphql-request', 'graphql-request'],
  ['trpc', 'tRPC'],
  ['rtk-query', 'RTK Query'],
  ['tanstack-query', 'TanStack Query'],
  ['octokit', 'Octokit'],
  ['postgrest', 'postgrest-js'],
  ['openai', 'OpenAI SDK'],
]

// The recipes import the package by its name, which is the sources here.
const sources = new URL('../../src/index.ts', import.meta.url).href
registerHooks({
  resolve: (specifier, context, next) => next(specifier === 'latchkey' ? sources : specifier, context),
})

const page = new URL('../../docs/clients.md', import.meta.url)
const bytes = Uint8Array.from({ length: 200_000 }, (_, index) => (index * index + index) % 251)

type Drive = (session: Fetching, origin: string) => Driven

async function open(drive: Drive, ago: number) {
  const server = await createClientsServer()
  const session = createSession({
    resources: server.origin,
    name: server.origin,
    grant: refreshTokenGrant({ tokenEndpoint: `${server.origin}/token`, clientId: 'demo' }),
    renewal: { minIntervalMs: 0 },
  })
  await session.adopt(server.signIn(), { obtainedAtMs: Date.now() - ago })
  let calls = 0
  const counted = (input: string | URL | Request, init?: RequestInit) => {
    calls++
    return session.fetch(input, init)
  }
  return {
    server,
    driven: drive({ fetch: counted as typeof fetch }, server.origin),
    calls: () => calls,
    close: () => {
      session.dispose()
      server.close()
    },
  }
}

function check(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(what)
}

type Accepted = Awaited<ReturnType<typeof createClientsServer>>['accepted']
const those = (accepted: Accepted, part: string | Uint8Array) => accepted.filter(({ body }) => body.includes(part))

interface Live {
  readonly calls: string
  readonly upload: string
}

/** Ten reads and ten writes at once, then an upload, each through an expiry. `ago`: how old the token is. */
async function live(drive: Drive, ago: number): Promise<Live> {
  const { server, driven, close } = await open(drive, ago)
  const { accepted, stats } = server
  try {
    if (ago < 3_600_000) server.expire()
    const markers = Array.from({ length: 10 }, (_, index) => `marker-${index}-`)
    const results = await Promise.all(markers.flatMap(marker => [driven.get(), driven.post({ marker })]))
    for (const result of results) {
      const error = driven.errorOf?.(result)
      if (error) throw error
      check(JSON.stringify(result).includes('id'), `an answer is ${JSON.stringify(result)}`)
    }
    for (const marker of markers) {
      const arrived = those(accepted, marker).length
      check(arrived === 1, `${marker} arrived ${arrived} times`)
    }
    check(stats.tokenCalls === 1 && stats.refused === 0, `${stats.tokenCalls} token calls for 20 calls`)
    if (ago >= 3_600_000) check(stats.unauthorized === 0, 'a token that was known to be expired was sent')
    const count = (wanted: string) => accepted.filter(({ method }) => method === wanted).length
    check(count('GET') === 10 && count('POST') === 10, `${count('GET')} GETs, ${count('POST')} POSTs`)
    const calls = `${count('GET')} GET, ${count('POST')} POST, ${stats.tokenCalls} renewal`

    server.expire()
    const before: number = stats.tokenCalls
    const { uploadEncoding } = driven
    const result = await driven.upload(bytes)
    const error = driven.errorOf?.(result)
    if (error) throw error
    const [upload, ...more] = those(accepted, uploadEncoding ? Buffer.from(bytes).toString(uploadEncoding) : bytes)
    check(upload && !more.length, `the upload arrived ${upload ? more.length + 1 : 0} times`)
    const renewals = server.stats.tokenCalls - before
    check(renewals === 1, `the upload cost ${renewals} renewals`)
    const { method, type } = upload
    check(type !== 'application/x-www-form-urlencoded', `the upload came as ${type}`)
    return { calls, upload: `${method} ${type || 'without a type'}${uploadEncoding ? `, as ${uploadEncoding}` : ''}` }
  } finally {
    close()
  }
}

function bounded(work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('it hangs: nothing after a minute')), 60_000)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

/** Where in what the client gives the SessionError is: `error`, `error.cause`, … */
function locate(error: unknown, path = 'error', depth = 0): string | undefined {
  if (isSessionError(error)) return `${path}`
  if (typeof error !== 'object' || error === null || depth > 3) return undefined
  for (const name of ['cause', 'networkError', 'originalError', 'error', 'request', 'details']) {
    const found = locate((error as Record<string, unknown>)[name], `${path}.${name}`, depth + 1)
    if (found) return found
  }
  return undefined
}

interface Dead {
  readonly surfaces: string
  readonly retries: number
}

async function dead(drive: Drive): Promise<Dead> {
  const { server, driven, calls, close } = await open(drive, 3_600_000)
  try {
    server.kill()
    let how = 'rejects'
    const error = await driven.get().then(
      result => {
        how = 'resolves'
        return driven.errorOf?.(result)
      },
      thrown => thrown,
    )
    check(error, 'a dead session gave no error')
    const where = locate(error) ?? `only as text: ${textOf(error)}`
    const retries = calls() - 1
    const again = Array.from({ length: 20 }, (_, index) => (index % 2 ? driven.get() : driven.post({ marker: 'dead' })))
    for (const outcome of await Promise.allSettled(again)) {
      check(outcome.status === 'rejected' || driven.errorOf?.(outcome.value), 'a dead session gave no error')
    }
    check(server.stats.tokenCalls === 1, `a dead session cost ${server.stats.tokenCalls} token calls`)
    check(server.stats.apiCalls === 0, `a dead session cost ${server.stats.apiCalls} requests`)
    return {
      surfaces: `${how}: ${where === 'error' ? '`error` itself' : where.startsWith('only') ? where : `\`${where}\``}`,
      retries,
    }
  } finally {
    close()
  }
}

function textOf(error: unknown): string {
  const { name, status, message, code } = error as Record<string, unknown>
  const own = JSON.stringify({ name, status, code }).slice(0, 80)
  const text = typeof message === 'string' ? message : JSON.stringify(error)
  return `\`${own}\`${/session|sign/i.test(text) ? '' : ' (not even that)'}`
}

/** What the page shows of a recipe: its imports of packages, and the region. */
function shown(file: string): string {
  const source = readFileSync(new URL(`recipes/${file}.ts`, import.meta.url), 'utf8')
  const imports = source.split('\n').filter(line => /^import .* from '[^.]/.test(line))
  const generated = source.includes("from '../generated/demo.ts'")
    ? ["import type { paths } from './api.ts' // by openapi-typescript"]
    : []
  const region = /\/\/ #region recipe\n([\s\S]*?)\n *\/\/ #endregion/.exec(source)?.[1] ?? ''
  const indent = /^ */.exec(region)?.[0] ?? ''
  const dedented = region.replaceAll(new RegExp(`^${indent}`, 'gm'), '')
  return `\`\`\`ts\n${[...imports, ...generated, ''].join('\n')}${imports.length ? '\n' : ''}${dedented}\n\`\`\``
}

/** A TanStack Query that retries whatever it was: three times, and none of them costs a token call. */
const stubborn: Drive = (session, origin) => ({
  get: () =>
    new QueryClient().fetchQuery({
      queryKey: ['items'],
      queryFn: async () => (await session.fetch(`${origin}/items`)).json(),
      retry: 3,
      retryDelay: 0,
    }),
  post: () => session.fetch(`${origin}/items`, { method: 'POST' }),
  upload: () => Promise.reject(new Error('it has none')),
})

let failed = 0
const rows: string[][] = []
for (const [file, name] of clients) {
  try {
    const { drive } = (await import(`./recipes/${file}.ts`)) as { drive: Drive }
    const { calls, upload } = await live(drive, 600_000)
    await live(drive, 3_700_000)
    const { surfaces, retries } = await dead(drive)
    rows.push([name, calls, upload, surfaces, String(retries)])
    console.log(`${name.padEnd(18)} passed  ${calls}; ${upload}; ${surfaces}; ${retries} retries`)
  } catch (error) {
    failed++
    console.log(`${name.padEnd(18)} FAILED  ${error instanceof Error ? error.stack : JSON.stringify(error)}`)
  }
}

const withRetries: [string, () => Promise<void>] = [
  'TanStack, stubborn',
  async () => {
    const { retries } = await dead(stubborn) // which checks that there is one token call
    check(retries === 3, `${retries} retries`)
  },
]
const generated: [string, () => Promise<void>] = [
  'the demo’s types',
  async () => {
    const words = (source: string) => source.replaceAll(/[\s;,'"]/g, '')
    const types = astToString(await openapiTS(openapi() as never))
    const kept = readFileSync(new URL('generated/demo.ts', import.meta.url), 'utf8')
    const start = kept.indexOf('export interface paths') // after the comment of the generator
    check(words(kept.slice(start)) === words(types), 'generated/demo.ts is old: npm run generate --prefix test/clients')
  },
]
for (const [name, test] of [withRetries, generated, ...besideTests]) {
  try {
    await bounded(test())
    console.log(`${name.padEnd(18)} passed`)
  } catch (error) {
    failed++
    console.log(`${name.padEnd(18)} FAILED  ${error instanceof Error ? error.stack : error}`)
  }
}

const titles = ['client', '20 calls at once', 'an upload', 'a dead session', 'its own retries']
const cells = [titles, ...rows]
const widths = titles.map((_, column) => Math.max(...cells.map(row => row[column]?.length ?? 0)))
const line = (row: string[]) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`
const [head = [], ...body] = cells
const table = [line(head), line(widths.map(width => '-'.repeat(width))), ...body.map(line)].join('\n')
const text = readFileSync(page, 'utf8')
let next = text.replace(/(<!-- table -->\n)[\s\S]*?(<!-- end -->)/, (_, start, end) => `${start}\n${table}\n\n${end}`)
for (const file of [...clients.map(([file]) => file), 'websocket', 'event-source', 'grpc', 'xhr']) {
  next = next.replace(
    new RegExp(`(<!-- recipe: ${file} -->\n)[\\s\\S]*?(<!-- end -->)`),
    (_, start, end) => `${start}\n${shown(file)}\n\n${end}`,
  )
  if (!text.includes(`<!-- recipe: ${file} -->`)) {
    failed++
    console.log(`docs/clients.md lacks the recipe of ${file}`)
  }
}
if (process.argv.includes('--write')) writeFileSync(page, next)
else if (next !== text && !failed) {
  failed++
  console.log('docs/clients.md is not what was run: npm run test:clients -- --write')
}
console.log(`clients: ${rows.length} passed, ${clients.length - rows.length} failed`)
// What hangs is not waited for.
process.exit(failed ? 1 : 0)
