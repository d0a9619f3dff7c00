import { readFileSync, writeFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { QueryClient } from '@tanstack/query-core'
import { createSession, isSessionError, refreshTokenGrant } from '../../src/index.ts'
import { besideTests } from './beside.ts'
import type { Driven, Fetching } from './recipe.ts'
import { createClientsServer } from './server.ts'

/**
 * `npm run test:clients [-- --write]`: each client of docs/clients.md, made by the code of its recipe, over real HTTP through an expiry
 * with 20 concurrent calls, an upload, and a dead session. Checks that the page shows that code and what was measured; `--write` puts it there.
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

const isThere = (bodies: Buffer[], part: string | Uint8Array) => bodies.filter(body => body.includes(part)).length

/** Ten reads and ten writes at once, then an upload, each through an expiry. `ago`: how old the token is. */
async function live(drive: Drive, ago: number): Promise<string> {
  const { server, driven, close } = await open(drive, ago)
  try {
    if (ago < 3_600_000) server.expire()
    const markers = Array.from({ length: 10 }, (_, index) => `marker-${index}-`)
    const results = await Promise.all(markers.flatMap(marker => [driven.get(), driven.post({ marker })]))
    for (const result of results) {
      const error = driven.errorOf?.(result)
      if (error) throw error
      check(JSON.stringify(result).includes('id'), `an answer is ${JSON.stringify(result)}`)
    }
    for (const marker of markers)
      check(isThere(server.accepted, marker) === 1, `${marker} arrived ${isThere(server.accepted, marker)} times`)
    check(
      server.stats.tokenCalls === 1 && server.stats.refused === 0,
      `${server.stats.tokenCalls} token calls for 20 calls`,
    )
    if (ago >= 3_600_000) check(server.stats.unauthorized === 0, 'a token that was known to be expired was sent')
    if (!driven.upload) return 'no uploads'
    server.expire()
    const before = server.stats.tokenCalls
    await driven.upload(bytes)
    check(isThere(server.accepted, bytes) === 1, `the upload arrived ${isThere(server.accepted, bytes)} times`)
    check(server.stats.tokenCalls - before === 1, 'the upload cost more than one renewal')
    return 'upload'
  } finally {
    close()
  }
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
  post: () => Promise.resolve(undefined),
})

let failed = 0
const rows: string[][] = []
for (const [file, name] of clients) {
  try {
    const { drive } = (await import(`./recipes/${file}.ts`)) as { drive: Drive }
    const upload = await live(drive, 600_000)
    await live(drive, 3_700_000)
    const { surfaces, retries } = await dead(drive)
    rows.push([name, upload, surfaces, String(retries)])
    console.log(`${name.padEnd(18)} passed  ${upload.padEnd(10)}  ${surfaces}; ${retries} retries`)
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
for (const [name, test] of [withRetries, ...besideTests]) {
  try {
    await test()
    console.log(`${name.padEnd(18)} passed`)
  } catch (error) {
    failed++
    console.log(`${name.padEnd(18)} FAILED  ${error instanceof Error ? error.stack : error}`)
  }
}

const cells = [
  ['client', 'a dead session', 'its own retries'],
  ...rows.map(([name = '', , surfaces = '', retries = '']) => [name, surfaces, retries]),
]
const widths = [0, 1, 2].map(column => Math.max(...cells.map(row => row[column]?.length ?? 0)))
const line = (row: string[]) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`
const [head = [], ...body] = cells
const table = [line(head), line(widths.map(width => '-'.repeat(width))), ...body.map(line)].join('\n')
const text = readFileSync(page, 'utf8')
let next = text.replace(/(<!-- table -->\n)[\s\S]*?(<!-- end -->)/, (_, start, end) => `${start}\n${table}\n\n${end}`)
for (const file of [...clients.map(([file]) => file), 'websocket', 'event-source', 'xhr']) {
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
process.exitCode = failed ? 1 : 0
