import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fileLock } from '../../src/locks/file.ts'
import type { CrashOptions } from './lock-crash.ts'

const crash = new URL('./lock-crash.ts', import.meta.url)
/** Where the counts are in what the workers share. */
const at = { holds: 1, doubles: 2, deaths: 3, first: 4, most: 100_000 }
const script = fileURLToPath(new URL('./lock-torture.ts', import.meta.url))
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'latchkey-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const run = (untilMs: number, env = {}) =>
  fork(script, [join(folder, 'lock'), String(untilMs)], {
    env: { ...process.env, ...env },
    execArgv: ['--disable-warning=ExperimentalWarning'],
  })

describe('the file lock among processes', () => {
  it('never has two holders, six processes long', async () => {
    const untilMs = Date.now() + 3000
    const reports = await Promise.all(
      Array.from({ length: 6 }, async () => {
        const [report] = (await once(run(untilMs), 'message')) as [{ holds: number; doubles: number }]
        return report
      }),
    )
    const holds = reports.reduce((sum, report) => sum + report.holds, 0)
    expect(reports.map(({ doubles }) => doubles)).toEqual(Array(6).fill(0))
    expect(holds).toBeGreaterThan(50)
  }, 60_000)

  it('lets one of many break a stale lock, and only one', async () => {
    // A dead holder's file, and ten that all find it stale at once; many rounds.
    for (let round = 0; round < 20; round++) {
      const path = join(folder, `stale-${round}`)
      writeFileSync(`${path}.lock`, JSON.stringify({ owner: 'dead', pid: 0, host: 'elsewhere' }))
      let inside = 0
      let most = 0
      await Promise.all(
        Array.from({ length: 10 }, () =>
          // Each with a lock of its own, as copies of the module in one process have.
          fileLock(() => path, 50).request('any', {}, async () => {
            most = Math.max(most, ++inside)
            await new Promise(resolve => setImmediate(resolve))
            inside--
          }),
        ),
      )
      expect(most).toBe(1)
      expect(existsSync(`${path}.lock`)).toBe(false)
    }
  }, 60_000)

  it('never has two holders, and never stands still, although hundreds die in the middle of taking, breaking and releasing it', async () => {
    const shared = new SharedArrayBuffer(4 * (at.first + at.most))
    const workerData: CrashOptions = { path: join(folder, 'lock'), untilMs: Date.now() + 4000, shared }
    const workers = Array.from({ length: 6 }, () => new Worker(crash, { workerData }))
    await Promise.all(workers.map(worker => once(worker, 'exit')))
    const counts = new Int32Array(shared)
    expect(counts[at.doubles]).toBe(0)
    expect(counts[at.deaths]).toBeGreaterThan(50)
    expect(counts[at.holds]).toBeGreaterThan(50)
    // Of the last to die; what hundreds of others left was swept.
    expect(readdirSync(folder).length).toBeLessThan(10)
  }, 60_000)

  it('is broken in bounded time when its holders are killed, and leaves no claims behind', async () => {
    const untilMs = Date.now() + 3000
    const children = Array.from({ length: 5 }, () => run(untilMs, { KILLS: 'yes' }))
    const survivors = children.slice(2)
    const reports = survivors.map(child => once(child, 'message') as Promise<[{ holds: number }]>)
    await new Promise(resolve => setTimeout(resolve, 700))
    children[0]?.kill('SIGKILL')
    await new Promise(resolve => setTimeout(resolve, 300))
    children[1]?.kill('SIGKILL')
    for (const [{ holds }] of await Promise.all(reports)) expect(holds).toBeGreaterThan(0)
    await fileLock(() => join(folder, 'lock'), 300).request('any', {}, async () => undefined)
    expect(readdirSync(folder).filter(name => name !== 'lock.alone').length).toBeLessThanOrEqual(1)
  }, 60_000)
})
