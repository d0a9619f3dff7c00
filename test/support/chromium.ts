import { execFileSync } from 'node:child_process'
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** What Playwright needs to start the browser; tests in Node get it by `inject('chromium')`. */
export interface ChromiumLaunch {
  executablePath: string
  /** The whole environment of the browser, where it is not ours. */
  env?: Record<string, string>
}

declare module 'vitest' {
  interface ProvidedContext {
    chromium: ChromiumLaunch
  }
}

/**
 * Finds a Chromium: `CHROMIUM_PATH`, else the one inside `@sparticuz/chromium` (linux x64, unpacked once), else one that
 * is installed. Throws when there is none: tests that need a browser never skip themselves.
 */
export async function findChromium(env: NodeJS.ProcessEnv = process.env): Promise<ChromiumLaunch> {
  const named = env.CHROMIUM_PATH
  if (named) {
    if (!executable(named)) throw new Error(`CHROMIUM_PATH is ${named}, and there is no executable file.`)
    return { executablePath: named }
  }
  if (process.platform === 'linux' && process.arch === 'x64' && !musl()) return unpacked(env)
  const installed = installedPaths(env).find(executable)
  if (installed) return { executablePath: installed }
  throw new Error(
    `No Chromium found for ${process.platform} ${process.arch}. Install Chrome or Chromium (Debian: apt-get install chromium; ` +
      'macOS: brew install --cask chromium), or name one by CHROMIUM_PATH=/path/to/chromium.',
  )
}

async function unpacked(env: NodeJS.ProcessEnv): Promise<ChromiumLaunch> {
  const root = dirname(dirname(createRequire(import.meta.url).resolve('@sparticuz/chromium')))
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const cache = fileURLToPath(new URL('../../node_modules/.cache/chromium/', import.meta.url))
  const home = join(cache, version)
  const executablePath = join(home, 'chromium')
  if (!existsSync(executablePath)) {
    await fill(cache, home, ({ executablePath }) => executablePath())
  }
  if (!lacksLibraries(executablePath)) return { executablePath }

  const libraries = join(cache, `${version}-libraries`)
  if (!existsSync(libraries)) {
    await fill(cache, libraries, (_, inflate) => inflate(join(root, 'bin/al2023.tar.br')))
  }
  const path = [join(libraries, 'al2023/lib'), env.LD_LIBRARY_PATH].filter(Boolean).join(delimiter)
  return { executablePath, env: { ...(env as Record<string, string>), LD_LIBRARY_PATH: path } }
}

type Unpack = (
  chromium: typeof import('@sparticuz/chromium').default,
  inflate: typeof import('@sparticuz/chromium').inflate,
) => Promise<unknown>

/** Unpacks beside the target and renames: a run that starts meanwhile, or one that was killed, never leaves half a browser. */
async function fill(cache: string, target: string, unpack: Unpack): Promise<void> {
  mkdirSync(cache, { recursive: true })
  const scratch = mkdtempSync(join(cache, 'unpacking-'))
  const before = process.env.TMPDIR
  process.env.TMPDIR = scratch // the package unpacks to os.tmpdir(), and takes whatever it finds there for its own
  try {
    const { default: chromium, inflate } = await import('@sparticuz/chromium')
    await unpack(chromium, inflate)
    renameSync(scratch, target)
  } catch (error) {
    if (!existsSync(target)) throw error
  } finally {
    if (before === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = before
    rmSync(scratch, { recursive: true, force: true })
  }
}

function lacksLibraries(file: string): boolean {
  return execFileSync('ldd', [file], { encoding: 'utf8' }).includes('not found')
}

function musl(): boolean {
  return existsSync('/etc/alpine-release')
}

function installedPaths(env: NodeJS.ProcessEnv): string[] {
  const names = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome']
  const onPath = (env.PATH ?? '').split(delimiter).flatMap(folder => names.map(name => join(folder, name)))
  const windows = [env.PROGRAMFILES, env['PROGRAMFILES(X86)'], env.LOCALAPPDATA].filter(folder => folder !== undefined)
  return [
    ...onPath,
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
    '/Applications/Chromium.app/Contents/MacOS/Chromium',
    ...windows.map(folder => join(folder, 'Google/Chrome/Application/chrome.exe')),
  ]
}

function executable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
