// A worker that plays processes, one after the other: each takes the file lock again and again, dawdles in the middle of what that does on
// the disk, and at some call dies: it does nothing more, and the others find its pid dead. So thousands die where real ones would be dozens.
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { threadId, workerData } from 'node:worker_threads'

export interface CrashOptions {
  readonly path: string
  readonly untilMs: number
  /** What all workers share: who is inside, the counts, and from `first` on, whether a pid is dead. */
  readonly shared: SharedArrayBuffer
}
const at = { inside: 0, holds: 1, doubles: 2, deaths: 3, first: 4 }

const { path, untilMs, shared } = workerData as CrashOptions
const counts = new Int32Array(shared)
const deathShare = 0.02
const dawdleShare = 0.1

let pid = 0
let isUnderTest = false
let isDead = false
const nextPid = () => {
  pid += 1
  isDead = false
  return threadId * 10_000 + pid
}
let current = nextPid()
Object.defineProperty(process, 'pid', { get: () => current })
process.kill = (other: number) => {
  if (Atomics.load(counts, at.first + other)) throw Object.assign(new Error('no such process'), { code: 'ESRCH' })
  return true
}

const dawdle = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
function die(): void {
  isDead = true
  Atomics.add(counts, at.deaths, 1)
  Atomics.store(counts, at.first + current, 1)
}
for (const name of ['linkSync', 'readFileSync', 'renameSync', 'rmSync', 'statSync', 'writeFileSync'] as const) {
  const original = fs[name] as (...args: unknown[]) => unknown
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      if (!isUnderTest) return original(...args)
      const isLast = Math.random() < deathShare
      if (isLast && Math.random() < 0.5) die()
      if (isDead) throw new Error('dead')
      if (Math.random() < dawdleShare) dawdle(Math.random() * 3)
      try {
        return original(...args)
      } finally {
        if (isLast) die()
      }
    },
  })
}
// Those who wait look again soon: the more of them find the same stale lock.
const { setTimeout: wait } = globalThis
globalThis.setTimeout = ((run: () => void, ms = 0) => wait(run, ms / 10)) as typeof setTimeout
syncBuiltinESMExports()
const { fileLock } = await import('../../src/locks/file.ts')

const lock = fileLock(() => path, 60_000)
while (Date.now() < untilMs) {
  if (isDead) current = nextPid()
  isUnderTest = true
  await lock
    .request('crash', {}, async () => {
      if (isDead) return
      isUnderTest = false
      if (Atomics.add(counts, at.inside, 1) !== 0) Atomics.add(counts, at.doubles, 1)
      Atomics.add(counts, at.holds, 1)
      if (Math.random() < 0.3) dawdle(Math.random() * 3)
      if (Atomics.load(counts, at.inside) !== 1) Atomics.add(counts, at.doubles, 1)
      Atomics.sub(counts, at.inside, 1)
      if (Math.random() < 0.2) die()
      isUnderTest = true
    })
    .catch(error => {
      if (!isDead) throw error
    })
  isUnderTest = false
}
