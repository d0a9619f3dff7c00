import { randomUUID } from 'node:crypto'
import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { Grip, Lock } from '../ports/lock.ts'
import { abortReason } from '../values/errors.ts'
import { memoryLock } from './memory.ts'

/** What a lock file says about its holder. */
interface Holder {
  /** Random, one per hold and claim: two copies of this module in one process are two owners. */
  readonly owner: string
  readonly pid: number
  /** Host and PID namespace: a pid means nothing elsewhere. */
  readonly host: string
}

/** Of a file without content, which only a file system without hard links can show. */
const nobody: Holder = { owner: 'nobody', pid: 0, host: '' }

const pollMs = 25
/** A claim lives for microseconds: one that is older than this belongs to a process that was stopped in the middle of them. */
const oldClaimMs = 5000
const oldLeftoverMs = 60_000

/**
 * A lock among processes: a file that exists while it is held, touched as a heartbeat. A holder is stale when its process is dead
 * (same host and PID namespace) or its heart has not beaten for `leaseMs`.
 *
 * 1. A lock file appears with its content, by a hard link, and only where there is none.
 * 2. Whoever removes or replaces one, its owner at release or another who breaks it, must first create the claim on that very hold,
 *    exclusively; a claim is named by the owner's random id. So two can't break one stale lock, and nobody removes a lock that is not
 *    the one he looked at.
 * 3. A claimer may be killed as well. Its claim stays, and who comes next claims that one: the last of the chain has the right. Claims
 *    go only once the hold that they stand on is gone for good.
 *
 * Where no lock file can be made (a full or read-only disk), the callback runs with a grip that is `lost` from the start: its first write
 * says what is wrong, and whoever could write all the same has lost the lock.
 */
export function fileLock(pathOf: (name: string) => string, leaseMs: number): Lock {
  // Within the process they queue in memory, so that only the first of them looks at the disk.
  const local = memoryLock()
  let isSwept = false
  return {
    request: (name, { signal, steal = false }, callback) =>
      local.request(name, { ...(signal && { signal }), steal }, async (grip: Grip) => {
        const path = `${pathOf(name)}.lock`
        const holder = newHolder()
        const lost = new AbortController()
        const loose = () => lost.abort()
        grip.lost?.addEventListener('abort', loose)
        const leave = AbortSignal.any([lost.signal, ...(signal ? [signal] : [])])
        let how: 'free' | 'broken'
        try {
          how = await acquire(path, holder, leaseMs, leave, steal)
        } catch (error) {
          // Robbed while it waited, or the caller left: nobody runs.
          if (leave.aborted) throw error
          loose()
          return callback({ lost: lost.signal })
        }
        if (leave.aborted) {
          release(path, holder.owner)
          throw abortReason(leave)
        }
        const heart = setInterval(() => {
          if (read(path)?.owner !== holder.owner) loose()
          else touch(path)
        }, leaseMs / 4)
        ;(heart as { unref?(): void }).unref?.()
        try {
          await callback({ lost: lost.signal })
        } finally {
          clearInterval(heart)
          // A break tells of a kill, and kills leave things lying about.
          if (!isSwept || how === 'broken') sweep(path, holder.owner)
          isSwept = true
          release(path, holder.owner)
        }
      }),
  }
}

async function acquire(
  path: string,
  own: Holder,
  leaseMs: number,
  leave: AbortSignal,
  steal: boolean,
): Promise<'free' | 'broken'> {
  // The heartbeat is watched by our own clock: the file's time may come from another host.
  let seen: { owner: string; beat: number | undefined; sinceMs: number } | undefined
  for (;;) {
    if (leave.aborted) throw abortReason(leave)
    const beat = beatOf(path)
    if (beat === undefined) {
      if (create(path, own)) return 'free'
    } else {
      const holder = read(path) ?? nobody
      if (holder.owner !== seen?.owner || beat !== seen.beat) {
        seen = { owner: holder.owner, beat, sinceMs: performance.now() }
      }
      const isStale = steal || performance.now() - seen.sinceMs > leaseMs || isDead(holder)
      if (isStale && take(path, holder, own, leaseMs)) return 'broken'
    }
    await pause(pollMs + Math.random() * pollMs, leave)
  }
}

function pause(ms: number, leave: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const end = () => {
      clearTimeout(timer)
      leave.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    leave.addEventListener('abort', end)
  })
}

/** Creates the file with its content, if there is none. */
function create(path: string, holder: Holder): boolean {
  const text = JSON.stringify(holder)
  const aside = `${path}.${holder.owner}.new`
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  try {
    writeFileSync(aside, text, { mode: 0o600 })
    linkSync(aside, path)
    return true
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    // The last one: a holder with much time has swept what it took for a leftover.
    if (code === 'EEXIST' || code === 'ENOENT') return false
    if (!['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK'].includes(code)) throw error
    return createWithoutLinks(path, text)
  } finally {
    remove(aside)
  }
}

/** Here a kill may leave a file without content. */
function createWithoutLinks(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: 'wx', mode: 0o600 })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    remove(path)
    throw error
  }
}

/** Takes the place of a stale holder: at the end of the chain of claims on it, whoever still finds that holder may replace the file. */
function take(path: string, stale: Holder, own: Holder, leaseMs: number): boolean {
  const chain: string[] = []
  for (let { owner } = stale; ; ) {
    const claim = `${path}.${owner}`
    chain.push(claim)
    if (create(claim, newHolder())) break
    const claimer = read(claim) ?? nobody
    const beat = beatOf(claim)
    const isOld = beat !== undefined && Date.now() - beat > Math.max(leaseMs, oldClaimMs)
    if (beat === undefined || claimer.owner === owner || !(isOld || isDead(claimer))) return false
    owner = claimer.owner
  }
  try {
    if ((read(path) ?? nobody).owner !== stale.owner) return false
    const aside = `${path}.${own.owner}.new`
    writeFileSync(aside, JSON.stringify(own), { mode: 0o600 })
    renameSync(aside, path)
    return true
  } finally {
    for (const claim of chain) remove(claim)
  }
}

function release(path: string, owner: string): void {
  try {
    const claim = `${path}.${owner}`
    // Somebody is breaking this lock: it is his.
    if (!create(claim, newHolder())) return
    if (read(path)?.owner === owner) remove(path)
    remove(claim)
  } catch {
    // A disk that became full or read-only keeps the file; its holder is dead or silent soon.
  }
}

/** Only the holder sweeps: no claim of the dead but those on itself still stands for anything. */
function sweep(path: string, owner: string): void {
  const prefix = `${basename(path)}.`
  try {
    if (read(path)?.owner !== owner) return
    for (const name of readdirSync(dirname(path))) {
      if (!name.startsWith(prefix)) continue
      const left = join(dirname(path), name)
      const [beat, holder] = [beatOf(left), read(left)]
      const isOld = beat !== undefined && Date.now() - beat > oldLeftoverMs
      if (name !== `${prefix}${owner}` && (isOld || (holder && isDead(holder)))) remove(left)
    }
  } catch {
    // The next holder may.
  }
}

function remove(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // The disk is read-only by now.
  }
}

const newHolder = (): Holder => ({ owner: randomUUID(), pid: process.pid, host: host() })

function read(path: string): Holder | undefined {
  try {
    const holder = JSON.parse(readFileSync(path, 'utf8')) as Holder
    return typeof holder.owner === 'string' ? holder : undefined
  } catch {
    return undefined
  }
}

function beatOf(path: string): number | undefined {
  try {
    return statSync(path).mtimeMs
  } catch {
    return undefined
  }
}

function touch(path: string): void {
  try {
    const now = new Date()
    utimesSync(path, now, now)
  } catch {
    // The next beat finds out that it was lost.
  }
}

function isDead(holder: Holder): boolean {
  if (holder.host !== host()) return false
  try {
    process.kill(holder.pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

let knownHost: string | undefined
function host(): string {
  if (knownHost === undefined) {
    let namespace = ''
    try {
      namespace = readlinkSync('/proc/self/ns/pid')
    } catch {
      // No such thing but on Linux.
    }
    knownHost = `${hostname()} ${namespace}`
  }
  return knownHost
}
