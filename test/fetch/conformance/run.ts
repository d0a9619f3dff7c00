import { execFile, spawn } from 'node:child_process'
import { existsSync, globSync } from 'node:fs'
import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'

/**
 * `npm run test:conformance`: the fetch tests that undici publishes in its repository (`test/fetch`), run twice: with undici's own fetch and
 * with `session.fetch` over it. Every test that passes with the one has to pass with the other. The suite is no part of this
 * repository: it is fetched by its commit, or read from the checkout or bare repository that UNDICI_REPOSITORY names.
 */
const commit = '7eb7c8ec8f23acd9c3da93a286162f8c1dc68326' // 8.10.0
const origin = process.env.UNDICI_REPOSITORY ?? 'https://github.com/nodejs/undici'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const cache = here('../../../node_modules/.cache/conformance')
const suite = join(cache, commit)
const modules = here('../../runtimes/node_modules')
const execute = promisify(execFile)

async function fetchSuite(): Promise<void> {
  if (existsSync(join(suite, 'undici-fetch.js'))) return
  const repository = join(cache, 'repository')
  await rm(repository, { recursive: true, force: true })
  await mkdir(repository, { recursive: true })
  const git = (...args: string[]) => execute('git', ['-C', repository, ...args], { timeout: 120_000 })
  await git('init', '-q')
  await git('fetch', '-q', '--depth', '1', origin, commit)
  await git('checkout', '-q', 'FETCH_HEAD')
  // What its `npm run build:node` makes, which some tests load.
  await build({
    entryPoints: [join(repository, 'index-fetch.js')],
    outfile: join(repository, 'undici-fetch.js'),
    bundle: true,
    platform: 'node',
    define: { esbuildDetection: '1' },
    keepNames: true,
    logLevel: 'error',
  })
  await rm(suite, { recursive: true, force: true })
  await cp(repository, suite, { recursive: true })
}

type Outcomes = Map<string, 'passed' | 'failed'>

function run(preload: string | undefined): Promise<{ outcomes: Outcomes; errors: Map<string, string> }> {
  // But one that takes most of a minute to look for a leak of undici's own, and fails on a busy machine.
  const files = globSync(join(suite, 'test/fetch/*.js')).filter(
    file => !file.endsWith('/long-lived-abort-controller.js'),
  )
  const flags = ['--expose-gc', ...(preload ? ['--require', preload] : [])]
  const reporter = here('reporter.mjs')
  const child = spawn(
    process.execPath,
    [
      ...flags,
      '--test',
      '--test-concurrency=2',
      '--test-timeout=60000',
      `--test-reporter=${reporter}`,
      ...files.sort(),
    ],
    {
      cwd: suite,
      env: { ...process.env, NODE_PATH: modules, CI: '1', LATCHKEY_SUITE: suite },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  return new Promise((resolve, reject) => {
    let text = ''
    child.stdout.setEncoding('utf8').on('data', chunk => {
      text += chunk
    })
    child.on('error', reject)
    child.on('close', () => {
      const outcomes: Outcomes = new Map()
      const errors = new Map<string, string>()
      for (const line of text.split('\n').filter(Boolean)) {
        const { file, path, isPassed, error } = JSON.parse(line)
        let name = `${basename(file ?? '')}: ${path}`
        while (outcomes.has(name)) name += ' (again)'
        outcomes.set(name, isPassed ? 'passed' : 'failed')
        if (error) errors.set(name, error)
      }
      resolve({ outcomes, errors })
    })
  })
}

try {
  await fetchSuite()
} catch (error) {
  console.log(
    `conformance: NOT RUN, the suite can not be had from ${origin}: ${error instanceof Error ? error.message.trim() : error}`,
  )
  process.exit(process.env.UNDICI_REPOSITORY ? 1 : 0)
}
const latchkey = join(cache, 'latchkey.cjs')
await build({
  entryPoints: [here('../../../src/index.ts')],
  outfile: latchkey,
  bundle: true,
  format: 'cjs',
  platform: 'node',
  logLevel: 'error',
})
const preload = join(cache, 'preload.cjs')
await writeFile(
  preload,
  `globalThis.latchkeyPath = ${JSON.stringify(latchkey)}\nrequire(${JSON.stringify(here('preload.cjs'))})\n`,
)

const bare = await run(undefined)
const ours = await run(preload)
const count = ({ outcomes }: typeof bare) => {
  const passed = [...outcomes.values()].filter(outcome => outcome === 'passed').length
  return `${passed} of ${outcomes.size} pass`
}
const worse = [...bare.outcomes].filter(
  ([name, outcome]) => outcome === 'passed' && ours.outcomes.get(name) !== 'passed',
)
console.log(`undici ${commit.slice(0, 8)}, test/fetch, on Node ${process.versions.node}`)
console.log(`its own fetch: ${count(bare)}`)
console.log(`session.fetch: ${count(ours)}`)
for (const [name, outcome] of bare.outcomes)
  if (outcome === 'failed') console.log(`fails with its own fetch too: ${name}`)
for (const [name] of worse) console.log(`WORSE: ${name}\n  ${ours.errors.get(name) ?? 'it did not run'}`)
process.exitCode = worse.length || bare.outcomes.size < 100 ? 1 : 0
