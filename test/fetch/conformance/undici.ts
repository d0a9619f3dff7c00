import { execFile } from 'node:child_process'
import { existsSync, globSync } from 'node:fs'
import { cp, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { cache, here, type Suite } from './suite.ts'

const commit = '7eb7c8ec8f23acd9c3da93a286162f8c1dc68326'
const origin = process.env.UNDICI_REPOSITORY ?? 'https://github.com/nodejs/undici'
const folder = join(cache, commit)
const execute = promisify(execFile)

/**
 * The tests of undici, Node's own fetch: they stand in its repository only, of which UNDICI_REPOSITORY may name a checkout or a bare copy.
 * @throws where that can not be reached
 */
export async function undiciSuite(): Promise<Suite> {
  if (!existsSync(join(folder, 'undici-fetch.js'))) await fetchSuite()
  // But one that takes most of a minute to look for a leak of undici's own, and fails on a busy machine.
  const files = globSync(join(folder, 'test/fetch/*.js')).filter(
    file => !file.endsWith('/long-lived-abort-controller.js'),
  )
  return {
    name: 'undici 8.10.0 test/fetch',
    fetch: 'its own fetch',
    folder,
    files: files.sort(),
    preload: here('undici.cjs'),
    least: 450,
  }
}

async function fetchSuite(): Promise<void> {
  const repository = join(cache, 'repository')
  await rm(repository, { recursive: true, force: true })
  await mkdir(repository, { recursive: true })
  const git = (...args: string[]) => execute('git', ['-C', repository, ...args], { timeout: 120_000 })
  await git('init', '-q')
  await git('fetch', '-q', '--depth', '1', origin, commit).catch(error => {
    throw new Error(`${origin} can not be reached: ${`${error.stderr ?? error}`.trim()}`)
  })
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
  await rm(folder, { recursive: true, force: true })
  await cp(repository, folder, { recursive: true })
}
