import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { build } from 'esbuild'
import { chromium } from 'playwright'
import { findChromium } from '../support/chromium.ts'
import { createBodyServer } from './body-server.ts'
import type { Result } from './matrix.ts'

/**
 * `npm run test:runtimes [-- --verbose]`: the body matrix on every runtime that can be had, as a table of counts. A runtime that can not be
 * had is a line of the table too. Exits with 1 where Latchkey does worse than the bare fetch of a runtime.
 */
const { values: flags } = parseArgs({ options: { verbose: { type: 'boolean', default: false } } })

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const cache = here('../../node_modules/.cache/runtimes')
const bundle = `${cache}/entry.mjs`
const modules = here('node_modules')
const selfsigned = `${modules}/selfsigned`

interface Runtime {
  readonly name: string
  /** What has to be there. */
  readonly needs: string
  /** Over TLS and HTTP/2. */
  readonly isSecure?: boolean
  run(origin: string): Promise<Result[]>
}

const execute = promisify(execFile)

/** A program of its own that prints its results. */
const program = (name: string, command: string, args: readonly string[] = [], undici?: string): Runtime => ({
  name,
  needs: undici ?? command,
  async run(origin) {
    const module = undici && pathToFileURL(`${undici}/index.js`).href
    const all = [...args, bundle, origin, ...(module ? [module] : [])]
    const { stdout } = await execute(command, all, { maxBuffer: 1 << 26, timeout: 120_000 })
    const line = stdout.split('\n').find(text => text.startsWith('results '))
    if (!line) throw new Error(`no results: ${stdout.slice(-300)}`)
    return JSON.parse(line.slice(8))
  },
})

const page = (
  name: string,
  { polyfill, isSecure = false }: { polyfill?: string; isSecure?: boolean } = {},
): Runtime => ({
  name,
  needs: polyfill ? `${modules}/${polyfill}` : isSecure ? selfsigned : bundle,
  isSecure,
  async run(origin) {
    await using browser = await chromium.launch(await findChromium())
    const tab = await browser.newPage({ ignoreHTTPSErrors: true })
    await tab.goto(`${origin}/`)
    const call = `import('/entry.js').then(({ runInPage }) => runInPage(${JSON.stringify(origin)}${polyfill ? ", '/polyfill.js'" : ''}))`
    return JSON.parse((await tab.evaluate(call)) as string)
  },
})

const undici = (name: string) => `${modules}/${name}`
const runtimes: readonly Runtime[] = [
  program('Node 20', `${modules}/node20/bin/node`),
  program('Node 22', `${modules}/node22/bin/node`),
  program(`Node ${process.versions.node.split('.')[0]}`, process.execPath),
  program('Node 26', `${modules}/node26/bin/node`),
  program('undici 7.18', process.execPath, [], undici('undici-7-18')),
  program('undici 7.24', process.execPath, [], undici('undici-7-24')),
  program('undici 8', process.execPath, [], undici('undici')),
  program('Bun', `${modules}/.bin/bun`, ['run']),
  program('Deno', `${modules}/.bin/deno`, ['run', '--allow-net', '--allow-env', '--no-config', '--no-lock']),
  page('Chromium'),
  page('Chromium, HTTP/2', { isSecure: true }),
  page('whatwg-fetch (Chromium)', { polyfill: 'whatwg-fetch' }),
]

async function makeCertificate(): Promise<{ key: string; cert: string }> {
  const { generate } = await import(pathToFileURL(`${selfsigned}/index.js`).href)
  const { private: key, cert } = await generate([{ name: 'commonName', value: 'localhost' }])
  return { key, cert }
}

const pages: Record<string, () => string> = {
  '/': () => '<!doctype html><title>The body matrix</title>',
  '/entry.js': () => readFileSync(bundle, 'utf8'),
  '/polyfill.js': () => readFileSync(`${modules}/whatwg-fetch/fetch.js`, 'utf8'),
}

await mkdir(cache, { recursive: true })
await build({
  entryPoints: [here('entry.ts')],
  outfile: bundle,
  bundle: true,
  format: 'esm',
  target: 'es2022',
  platform: 'neutral',
  mainFields: ['module', 'main'],
  external: ['node:*'],
  alias: { latchkey: here('../../src/index.ts') },
  logLevel: 'error',
})

const pageOf = (path: string) => pages[path]?.()
const server = await createBodyServer(pageOf)
const secure = existsSync(selfsigned) ? await createBodyServer(pageOf, await makeCertificate()) : undefined
let isWorse = false
const rows: string[][] = [['runtime', 'passed', 'failed', 'the bare fetch can not']]
const notes: string[] = []
for (const { name, needs, isSecure, run } of runtimes) {
  if (!existsSync(needs)) {
    rows.push([name, '-', '-', 'not here: npm ci --prefix test/runtimes'])
    continue
  }
  try {
    const results = await run(isSecure && secure ? secure.origin : server.origin)
    const of = (outcome: Result['outcome']) => results.filter(result => result.outcome === outcome)
    rows.push([name, ...(['passed', 'failed', 'platform'] as const).map(outcome => `${of(outcome).length}`)])
    isWorse ||= of('failed').length > 0 || of('passed').length === 0
    for (const { name: what, outcome, why } of results) {
      if (outcome === 'failed' || (flags.verbose && outcome === 'platform'))
        notes.push(`${name}: ${outcome}: ${what}: ${why}`)
    }
  } catch (error) {
    isWorse = true
    rows.push([name, '0', 'all', `${error instanceof Error ? error.message.slice(0, 500) : error}`])
  }
}
await server.close()
await secure?.close()

const widths = rows[0]?.map((_, column) => Math.max(...rows.map(row => row[column]?.length ?? 0))) ?? []
for (const row of rows) console.log(row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '))
for (const note of notes) console.log(note)
process.exitCode = isWorse ? 1 : 0
