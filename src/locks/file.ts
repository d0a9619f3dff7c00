import { randomUUID } from 'node:crypto'
import { mkdirSync, readFileSync, readlinkSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import type { Lock } from '../ports/lock.ts'
import { abortReason } from '../values/errors.ts'
import { memoryLock } from './memory.ts'

/** What a lock file says about its holder. */
interface Holder {
  /** Random, one per hold: two copies of this module in one process are two owners. */
  readonly owner: string
  readonly pid: number
  /** Host and PID namespace: a pid means nothing elsewhere. */
  readonly host: string
}

/** Of a file that a kill left between its creation and its first byte. */
const nobody: Holder = { owner: 'nobody', pid: 0, host: '' }

const pollMs = 25

/**
 * A lock among processes: a file that exists while it is held, touched as a heartbeat. A holder is stale when its process is dead
 * (same host and PID namespace) or its heart has not beaten for `leaseMs`.
 *
 * Whoever removes or replaces a lock file, its owner at release or another who breaks it, must first create the claim file of that very
 * hold, exclusively; its name holds the owner's random id. So two can't break one stale lock, and nobody removes a lock that is not the
 * one he looked at.
 */
export function fileLock(pathOf: (name: string) => string, leaseMs: number): Lock {
  // Within the process they queue in memory, so that only the first of them looks at the disk.
  const local = memoryLock()
  return {
    request: (name, { signal, steal = false }, callback) =>
      local.request(name, { ...(signal && { signal }), steal }, async () => {
        const path = `${pathOf(name)}.lock`
        const owner = randomUUID()
        await acquire(path, owner, leaseMs, signal, steal)
        const lost = new AbortController()
        const heart = setInterval(() => {
          if (read(path)?.owner !== owner) lost.abort()
          else touch(path)
        }, leaseMs / 4)
        ;(heart as { unref?(): void }).unref?.()
        try {
          await callback({ lost: lost.signal })
        } finally {
          clearInterval(heart)
          release(path, owner)
        }
      }),
  }
}

async function acquire(
  path: string,
  owner: string,
  leaseMs: number,
  signal: AbortSignal | undefined,
  steal: boolean,
): Promise<void> {
  const text = JSON.stringify({ owner, pid: process.pid, host: host() } satisfies Holder)
  // The heartbeat is watched by our own clock: the file's time may come from another host.
  let seen = { owner: '', beat: Number.NaN, sinceMs: 0 }
  for (;;) {
    if (signal?.aborted) throw abortReason(signal)
    if (create(path, text)) return
    const holder = read(path) ?? nobody
    const beat = beatOf(path)
    if (holder.owner !== seen.owner || beat !== seen.beat) {
      seen = { owner: holder.owner, beat: beat ?? Number.NaN, sinceMs: performance.now() }
    }
    const isStale = steal || performance.now() - seen.sinceMs > leaseMs || isDead(holder)
    if (isStale && take(path, holder, text, leaseMs)) return
    await new Promise(resolve => setTimeout(resolve, pollMs + Math.random() * pollMs))
  }
}

/** Creates the file if there is none. The content is there from the first moment but after a kill in between. */
function create(path: string, text: string): boolean {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    writeFileSync(path, text, { flag: 'wx', mode: 0o600 })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** Takes the place of a stale holder. Only one can create its claim; whoever has it and still finds that holder may replace the file. */
function take(path: string, stale: Holder, text: string, leaseMs: number): boolean {
  const claim = `${path}.${stale.owner}`
  if (!create(claim, text)) {
    // Its owner may have been killed on these very lines.
    const claimer = read(claim)
    const beat = beatOf(claim)
    const isOld = beat !== undefined && Date.now() - beat > leaseMs
    if ((claimer && isDead(claimer)) || isOld) rmSync(claim, { force: true })
    return false
  }
  try {
    if ((read(path) ?? nobody).owner !== stale.owner) return false
    // Our own file, written aside, takes the place of the stale one in one step.
    const own = `${claim}.new`
    writeFileSync(own, text, { mode: 0o600 })
    renameSync(own, path)
    return true
  } finally {
    rmSync(claim, { force: true })
  }
}

function release(path: string, owner: string): void {
  try {
    const claim = `${path}.${owner}`
    // Somebody is breaking this lock: it is his.
    if (!create(claim, '')) return
    if (read(path)?.owner === owner) rmSync(path, { force: true })
    rmSync(claim, { force: true })
  } catch {
    // A disk that became read-only keeps the file; its holder is dead or silent soon.
  }
}

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
