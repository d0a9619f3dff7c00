import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createTabServer, type TabServer } from '../tabs/tab-server.ts'
import { startWorker, type Worker } from './fleet.ts'

/** `LATCHKEY_LONG=1` runs the whole length and prints its figures. */
const isLong = !!process.env.LATCHKEY_LONG

let folder: string
let server: TabServer
let workers: Worker[] = []
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'latchkey-'))
  server = await createTabServer()
})
afterEach(async () => {
  await Promise.all(workers.map(worker => worker.end()))
  workers = []
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})

async function start(count: number, leaseMs = 10_000): Promise<Worker[]> {
  const options = { origin: server.origin, file: join(folder, 'credentials'), leaseMs }
  workers = await Promise.all(Array.from({ length: count }, () => startWorker(options)))
  await workers[0]?.signIn()
  return workers
}

describe('processes on one file', () => {
  const expiries = isLong ? 100 : 10
  it(`9: twenty of them make one token call per expiry, ${expiries} expiries long with 20 calls each, and lose nothing`, async () => {
    await start(20)
    const began = performance.now()
    for (let round = 1; round <= expiries; round++) {
      server.expireAccess()
      const answers = await Promise.all(workers.map(worker => worker.call(20)))
      expect(answers.flat()).toEqual(Array(400).fill(200))
      expect(server.stats).toMatchObject({ tokenCalls: round, refused: 0 })
    }
    const msPerExpiry = (performance.now() - began) / expiries
    console.log(
      `processes on one file: processes=20 expiries=${expiries} calls=${expiries * 400} token_calls=${server.stats.tokenCalls} ` +
        `refused=${server.stats.refused} ms_per_expiry=${msPerExpiry.toFixed(0)}`,
    )
    await expect.poll(() => readdirSync(folder)).toEqual(['credentials'])
  }, 600_000)

  it('9: kill -9 at any instant leaves a file that can be read, and the others a token inside a reuse window', async () => {
    server.hasReuseWindow = true
    server.delayTokensMs = 30
    await start(4, 1000)
    const recoveries: number[] = []
    for (let round = 1; round <= (isLong ? 40 : 8); round++) {
      server.expireAccess()
      const answers = workers.map(worker => worker.call(5))
      await new Promise(resolve => setTimeout(resolve, Math.random() * 60))
      const victim = round % workers.length
      workers[victim]?.child.kill('SIGKILL')
      const killedMs = performance.now()
      const settled = await Promise.all(answers)
      recoveries.push(performance.now() - killedMs)
      for (const [index, got] of settled.entries()) if (index !== victim) expect(got).toEqual(Array(5).fill(200))
      expect(() => JSON.parse(readFileSync(join(folder, 'credentials'), 'utf8'))).not.toThrow()
      const options = { origin: server.origin, file: join(folder, 'credentials'), leaseMs: 1000 }
      await workers[victim]?.end()
      workers[victim] = await startWorker(options)
    }
    expect(server.stats.refused).toBe(0)
    recoveries.sort((a, b) => a - b)
    const at = (share: number) => Math.round(recoveries[Math.floor((recoveries.length - 1) * share)] ?? Number.NaN)
    console.log(
      `recovery after kill -9 on one file: kills=${recoveries.length} lease_ms=1000 median_ms=${at(0.5)} p99_ms=${at(0.99)}`,
    )
  }, 600_000)

  it('4: a holder that is stopped past its lease is passed over, and what it writes after waking up is fenced off', async () => {
    server.hasReuseWindow = true
    server.delayTokensMs = 100
    await start(3, 400)
    server.expireAccess()
    const [sleeper, ...others] = workers as [Worker, Worker, Worker]
    const asleep = sleeper.call(1)
    await expect.poll(() => server.stats.tokenCalls).toBe(1)
    sleeper.child.kill('SIGSTOP')
    expect(await Promise.all(others.map(worker => worker.call(3)))).toEqual([Array(3).fill(200), Array(3).fill(200)])
    const stored = readFileSync(join(folder, 'credentials'), 'utf8')
    sleeper.child.kill('SIGCONT')
    expect(await asleep).toEqual([200])
    expect(readFileSync(join(folder, 'credentials'), 'utf8')).toBe(stored)
    expect((await Promise.all(workers.map(worker => worker.call(1)))).flat()).toEqual([200, 200, 200])
  }, 60_000)
})
