import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
export const cache = here('../../../node_modules/.cache/conformance')
export const bundle = join(cache, 'latchkey.cjs')

/** Published tests of a fetch, and whose fetch they are run with. */
export interface Suite {
  readonly name: string
  readonly fetch: string
  /** What the tests run in. */
  readonly folder: string
  readonly files: readonly string[]
  /** Puts the fetch in its place. */
  readonly preload: string
  readonly env?: Readonly<Record<string, string>>
  /** Fewer that pass with the bare fetch: the suite was not run as a whole. */
  readonly least: number
  /** Tests that are no case here. */
  readonly isLeftOut?: (name: string) => boolean
}

export interface Outcomes {
  readonly all: ReadonlyMap<string, { readonly isPassed: boolean; readonly error?: string }>
  /** How often a token was put on a request. */
  readonly sends: number
}

export const countPassed = ({ all }: Outcomes): number => [...all.values()].filter(({ isPassed }) => isPassed).length

/** Runs a suite by Node's test runner, with its bare fetch or with `session.fetch` over it. */
export async function run(suite: Suite, isUnderSession: boolean): Promise<Outcomes> {
  const sends = join(cache, 'sends')
  await rm(sends, { force: true })
  const args = ['--expose-gc', '--no-deprecation', '--require', suite.preload, '--test']
  const limits = ['--test-concurrency=2', '--test-timeout=60000', `--test-reporter=${here('reporter.mjs')}`]
  const own = { ...suite.env, LATCHKEY_SUITE: suite.folder, LATCHKEY_SENDS: sends }
  const child = spawn(process.execPath, [...args, ...limits, ...suite.files], {
    cwd: suite.folder,
    env: {
      ...process.env,
      NODE_PATH: here('node_modules'),
      CI: '1',
      ...own,
      LATCHKEY_BUNDLE: isUnderSession ? bundle : '',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', chunk => {
    text += chunk
  })
  await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve))
  const all = new Map<string, { isPassed: boolean; error?: string }>()
  for (const line of text.split('\n').filter(Boolean)) {
    const { file, path, isPassed, error } = JSON.parse(line)
    let name = `${basename(file ?? '')}: ${path}`
    if (suite.isLeftOut?.(path)) continue
    while (all.has(name)) name += ' (again)'
    all.set(name, { isPassed, error })
  }
  const counts = existsSync(sends) ? readFileSync(sends, 'utf8').split('\n').map(Number) : []
  return { all, sends: counts.reduce((sum, count) => sum + count, 0) }
}
