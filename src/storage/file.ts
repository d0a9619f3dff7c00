import { createHash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  type FSWatcher,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  watch as watchFolder,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { fileLock } from '../locks/file.ts'
import type { TokenStorage } from '../ports/token-storage.ts'
import { SessionError } from '../values/errors.ts'

export interface FileStorageOptions {
  /**
   * How long a lock holder that is alive may be silent before another takes its place, in milliseconds, 1 or more; one whose process is
   * dead is passed over at once. The lock is renewed while it is held, so it need not be longer than a renewal. @default 10_000
   */
  leaseMs?: number
}

/** What a file holds: one key's record, and whose it is. */
interface Content {
  readonly key: string
  readonly value: string
}

const oldTempMs = 60_000
const mostConflicts = 5

/**
 * One file for one record, for a CLI or service and all its processes on one host: mode 0600 in a folder of 0700, written aside, synced and
 * renamed, so that a kill at any instant leaves the old or the new record. It brings the lock that protects it.
 * A second key on the same path gets a file of its own beside it. A file that others can read is refused (`storage_unavailable`, with the
 * `chmod` that repairs it), what is no record is `storage_corrupt` until the next sign-in, a read-only disk is `read_only` and still read.
 * @param path Resolved at once; a symbolic link is followed.
 * @throws SessionError `misconfigured` for an empty path or a lease that is no time
 */
export function fileStorage(path: string, { leaseMs = 10_000 }: FileStorageOptions = {}): TokenStorage {
  if (typeof path !== 'string' || !path) {
    throw new SessionError(
      'misconfigured',
      "No path. Write where the record lives: fileStorage('/home/me/.config/app').",
    )
  }
  if (!(Number.isFinite(leaseMs) && leaseMs >= 1)) {
    throw new SessionError('misconfigured', `leaseMs is ${leaseMs}. Give it in milliseconds, or leave it out.`)
  }
  const given = resolve(path)
  let isSwept = false

  /** A symbolic link is followed: writing beside it would replace the link. */
  function real(): string {
    try {
      return realpathSync(given)
    } catch {
      // Not there yet, or a link to what is not there yet.
    }
    try {
      return resolve(dirname(given), readlinkSync(given))
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

  /** For who writes whatever is there: a sign-in over a damaged file. */
  function locateAnyway(key: string): ReturnType<typeof locate> & { isDamaged?: boolean } {
    try {
      return locate(key)
    } catch (error) {
      const { code, file } = error as { code?: string; file?: string }
      if (code !== 'storage_corrupt' || file === undefined) throw error
      return { file, content: undefined, isDamaged: true }
    }
  }

  /** Resolves with whether it was written: a file that appears only now may be another key's, which is looked at first. */
  function write({ file, content, isDamaged }: ReturnType<typeof locateAnyway>, next: Content): boolean {
    const folder = dirname(file)
    const aside = `${file}.${process.pid}.${Math.random().toString(36).slice(2)}.tmp`
    try {
      makeFolder(folder)
      if (!isSwept) sweep(file)
      isSwept = true
      const handle = openSync(aside, 'wx', 0o600)
      try {
        // Not writeSync: on a disk that fills up it writes a part, and says so in its result only.
        writeFileSync(handle, JSON.stringify(next))
        fsyncSync(handle)
      } finally {
        closeSync(handle)
      }
      if (content || isDamaged) renameSync(aside, file)
      else if (!appear(aside, file)) return false
      syncFolder(folder)
      return true
    } catch (error) {
      throw asStorageError(error)
    } finally {
      remove(aside)
    }
  }

  /** One watcher for all keys. Without a folder or where nothing can be watched, the lock and the reads under it do without news. */
  const listeners = new Map<string, Set<() => void>>() // by the name of the key's own file
  let watcher: FSWatcher | undefined
  function startWatching(): void {
    try {
      makeFolder(dirname(real()))
    } catch {
      // It may be there all the same.
    }
    try {
      const own = watchFolder(dirname(real()), { persistent: false }, (_event, name) => {
        const isFirst = name === basename(real())
        const heard = isFirst
          ? [...listeners.values()].flatMap(own => [...own])
          : [...(listeners.get(name ?? '') ?? [])]
        for (const listener of heard) listener()
      })
      own.on('error', () => {
        own.close()
        if (watcher === own) watcher = undefined
      })
      watcher = own
    } catch {
      watcher = undefined
    }
  }

  return {
    scope: 'shared',
    getItem: key => locate(key).content?.value,
    setItem(key, value) {
      for (let conflicts = 0; conflicts < mostConflicts; conflicts++) {
        if (write(locateAnyway(key), { key, value })) return
      }
      throw new Error(`${given} is no file that can be written.`)
    },
    removeItem(key) {
      const { file, content, isDamaged } = locateAnyway(key)
      try {
        // Not rmSync: its errors have codes of their own.
        if (content || isDamaged) unlinkSync(file)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw asStorageError(error)
      }
    },
    replaceItem(key, expected, value) {
      const located = locate(key)
      return located.content?.value === expected && write(located, { key, value })
    },
    watch(key, listener) {
      const name = basename(beside(key))
      const heard = listeners.get(name) ?? new Set()
      // A function of our own: the same listener may watch twice.
      const own = () => listener()
      listeners.set(name, heard.add(own))
      if (!watcher) startWatching()
      return () => {
        heard.delete(own)
        if (!heard.size && listeners.get(name) === heard) listeners.delete(name)
        if (listeners.size) return
        watcher?.close()
        watcher = undefined
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
  throw Object.assign(new Error(`${file} holds no record of Latchkey. The next sign-in writes over it.`), {
    code: 'storage_corrupt',
    file,
  })
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    // What Node says here on a read-only disk; the first folder that is missing says why.
    let first = folder
    while (!existsSync(dirname(first))) first = dirname(first)
    mkdirSync(first, { mode: 0o700 })
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  }
}

/** A new file takes its place only where there is none. */
function appear(aside: string, file: string): boolean {
  try {
    linkSync(aside, file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    // A file system without hard links.
    renameSync(aside, file)
    return true
  }
}

function remove(file: string): void {
  try {
    rmSync(file, { force: true })
  } catch {
    // Not on a disk that is read-only by now; the next sweep finds it.
  }
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
