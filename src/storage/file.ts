import { createHash } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  watch as watchFolder,
  writeSync,
} from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { fileLock } from '../locks/file.ts'
import type { TokenStorage } from '../ports/token-storage.ts'

export interface FileStorageOptions {
  /** How long a lock holder may be silent before another takes its place. @default 10_000 */
  leaseMs?: number
}

/** What a file holds: one key's record, and whose it is. */
interface Content {
  readonly key: string
  readonly value: string
}

const oldTempMs = 60_000

/**
 * One file for one record, for a CLI or service and all its processes: mode 0600 in a folder of 0700, written aside, synced and renamed, so that a kill
 * at any instant leaves the old or the new record. It brings the lock that protects it. A file that others can read is refused.
 * A second key on the same path gets a file of its own beside it. A read-only disk is `read_only`.
 */
export function fileStorage(path: string, { leaseMs = 10_000 }: FileStorageOptions = {}): TokenStorage {
  const given = resolve(path)
  let isSwept = false

  /** A symbolic link is followed: writing beside it would replace the link. */
  function real(): string {
    try {
      return realpathSync(given)
    } catch {
      return given
    }
  }

  const beside = (key: string) => `${real()}.${createHash('sha256').update(key).digest('hex').slice(0, 16)}`

  function locate(key: string): { file: string; content: Content | undefined } {
    const own = readContent(beside(key))
    if (own) return { file: beside(key), content: own }
    const first = readContent(real())
    return first && first.key !== key ? { file: beside(key), content: undefined } : { file: real(), content: first }
  }

  function write(key: string, value: string): void {
    const { file } = locate(key)
    const folder = dirname(file)
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    if (!isSwept) sweep(file)
    isSwept = true
    const aside = `${file}.${process.pid}.${Math.random().toString(36).slice(2)}.tmp`
    try {
      const handle = openSync(aside, 'wx', 0o600)
      try {
        writeSync(handle, JSON.stringify({ key, value } satisfies Content))
        fsyncSync(handle)
      } finally {
        closeSync(handle)
      }
      renameSync(aside, file)
      syncFolder(folder)
    } catch (error) {
      try {
        rmSync(aside, { force: true })
      } catch {
        // The same trouble again; the next sweep finds it.
      }
      throw asStorageError(error)
    }
  }

  return {
    scope: 'shared',
    getItem: key => locate(key).content?.value,
    setItem: write,
    removeItem(key) {
      const { file, content } = locate(key)
      if (content) rmSync(file, { force: true })
    },
    replaceItem(key, expected, value) {
      if (locate(key).content?.value !== expected) return false
      write(key, value)
      return true
    },
    watch(key, listener) {
      try {
        const watcher = watchFolder(dirname(real()), { persistent: false }, (_event, name) => {
          if (name === basename(real()) || name === basename(beside(key))) listener()
        })
        watcher.on('error', () => watcher.close())
        return () => watcher.close()
      } catch {
        // No folder yet: the lock and the reads under it do without news.
        return () => undefined
      }
    },
    lock: fileLock(beside, leaseMs),
  }
}

/** A file as it is, or `undefined` where there is none. What is no content of ours reads as damaged text. */
function readContent(file: string): Content | undefined {
  let mode: number
  let text: string
  try {
    mode = statSync(file).mode
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw asStorageError(error)
  }
  // Windows has no such modes.
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
    throw new Error(`Others can read ${file}. Make it yours alone: chmod 600 ${file}`)
  }
  try {
    const { key, value } = JSON.parse(text) as Partial<Content>
    if (typeof key === 'string' && typeof value === 'string') return { key, value }
  } catch {
    // Damaged: below.
  }
  throw Object.assign(new Error(`${file} holds no record of Latchkey.`), { code: 'storage_corrupt' })
}

/** Removes what killed writers left: temporary files hold tokens. */
function sweep(file: string): void {
  const isOurs = (name: string) => name.startsWith(`${basename(file)}.`) && name.endsWith('.tmp')
  try {
    for (const name of readdirSync(dirname(file)).filter(isOurs)) {
      const left = join(dirname(file), name)
      if (Date.now() - statSync(left).mtimeMs > oldTempMs || !isAlive(name)) rmSync(left, { force: true })
    }
  } catch {
    // Somebody else sweeps, or the disk is read-only.
  }
}

function isAlive(name: string): boolean {
  try {
    process.kill(Number(name.split('.').at(-3)), 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** The rename itself is safe only once the folder is on the disk. Not every platform can. */
function syncFolder(folder: string): void {
  try {
    const handle = openSync(folder, 'r')
    try {
      fsyncSync(handle)
    } finally {
      closeSync(handle)
    }
  } catch {
    // Windows opens no folders.
  }
}

const asStorageError = (error: unknown) =>
  (error as NodeJS.ErrnoException | undefined)?.code === 'EROFS'
    ? Object.assign(error as Error, { code: 'read_only' })
    : error
