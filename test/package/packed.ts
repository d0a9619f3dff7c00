import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** What `npm run build` and `npm pack` read; more than the tarball may hold. */
const inputs = [
  'src',
  'react-native',
  'README.md',
  'LICENSE',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'package.json',
  'tsconfig.json',
  'tsup.config.ts',
  '.gitignore',
  '.npmrc',
]

export interface Packed {
  /** The file that `npm publish` would send. */
  tarball: string
  /** A project that has the tarball's content as node_modules/latchkey, beside its dependencies. */
  consumer: string
}

/**
 * Builds and packs the package in a copy of the project, so that nobody's dist/ is touched or waited for. Once for one
 * state of the sources: other test files and runs find it done, or wait for the one that does it.
 */
export async function packed(): Promise<Packed> {
  const cache = join(root, 'node_modules/.cache/packed')
  const home = join(cache, fingerprint())
  mkdirSync(cache, { recursive: true })
  await exclusively(join(cache, 'lock'), async () => {
    if (existsSync(home)) return
    for (const name of readdirSync(cache)) discardOld(join(cache, name))
    const scratch = mkdtempSync(join(cache, 'packing-'))
    await pack(scratch)
    renameSync(scratch, home)
  })
  return { tarball: join(home, 'latchkey.tgz'), consumer: join(home, 'consumer') }
}

/** Runs a program of the toolchain; a failure rejects with what it printed. */
export async function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(command, args, { cwd, encoding: 'utf8', maxBuffer: 2 ** 26 })
    return stdout
  } catch (error) {
    const { message, stdout, stderr } = error as Error & { stdout?: string; stderr?: string }
    throw new Error([message, stdout, stderr].filter(Boolean).join('\n'))
  }
}

async function pack(home: string): Promise<void> {
  // Outside of node_modules: what lies there, the bundler of the declarations takes for somebody else's.
  const project = mkdtempSync(join(tmpdir(), 'latchkey-'))
  for (const input of inputs) {
    if (existsSync(join(root, input))) cpSync(join(root, input), join(project, input), { recursive: true })
  }
  symlinkSync(join(root, 'node_modules'), join(project, 'node_modules'), 'junction')
  await run('npm', ['run', 'build'], project)
  await run('npm', ['pack', '--pack-destination', home], project)
  rmSync(project, { recursive: true, force: true })
  const [tarball] = readdirSync(home).filter(file => file.endsWith('.tgz'))
  renameSync(join(home, tarball!), join(home, 'latchkey.tgz'))

  const modules = join(home, 'consumer/node_modules')
  mkdirSync(modules, { recursive: true })
  await run('tar', ['-xzf', join(home, 'latchkey.tgz'), '-C', modules], home)
  renameSync(join(modules, 'package'), join(modules, 'latchkey'))
  const { dependencies } = JSON.parse(readFileSync(join(modules, 'latchkey/package.json'), 'utf8'))
  for (const name of Object.keys(dependencies)) {
    symlinkSync(join(root, 'node_modules', name), join(modules, name), 'junction')
  }
}

function fingerprint(): string {
  const hash = createHash('sha256')
  const makers = ['package-lock.json', 'test/package/packed.ts']
  for (const file of [...inputs, ...makers].flatMap(input => filesUnder(join(root, input)))) {
    hash.update(relative(root, file)).update('\0').update(readFileSync(file)).update('\0')
  }
  return hash.digest('hex').slice(0, 16)
}

function filesUnder(path: string): string[] {
  if (!existsSync(path)) return []
  if (!statSync(path).isDirectory()) return [path]
  return readdirSync(path)
    .sort()
    .flatMap(name => filesUnder(join(path, name)))
}

/** An hour: another run may still be reading what it packed before the sources changed. */
function discardOld(path: string): void {
  if (Date.now() - statSync(path).mtimeMs > 3_600_000) rmSync(path, { recursive: true, force: true })
}

async function exclusively(lock: string, work: () => Promise<void>): Promise<void> {
  while (!taken(lock)) await delay(50)
  try {
    await work()
  } finally {
    rmSync(lock, { force: true })
  }
}

function taken(lock: string): boolean {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' })
    return true
  } catch {
    if (existsSync(lock) && !alive(Number(readFileSync(lock, 'utf8')))) rmSync(lock, { force: true })
    return false
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
