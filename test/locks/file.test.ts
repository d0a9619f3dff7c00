import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Grip } from '../../src/index.ts'
import { fileLock } from '../../src/locks/file.ts'
import { holder } from './lock-suite.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'latchkey-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** Each with a queue of its own, as in a process of its own. */
const make = (leaseMs = 10_000) => fileLock(() => join(folder, 'a'), leaseMs)
const file = () => join(folder, 'a.lock')
const owner = () => JSON.parse(readFileSync(file(), 'utf8')).owner as string

describe('fileLock', () => {
  it('never runs the callback of a request that was robbed while it waited for another process', async () => {
    const [other, own] = [make(), make()]
    const log: string[] = []
    const first = holder(log, 'other')
    const held = other.request('a', {}, first.hold)
    await first.begun
    const robbed = own.request('a', {}, async () => void log.push('robbed')).catch(error => error)
    await new Promise(resolve => setTimeout(resolve, 60))
    await own.request('a', { steal: true }, async () => void log.push('thief'))
    expect(await robbed).toMatchObject({ name: 'AbortError' })
    first.release()
    await held
    // Whoever still wanted it would have it before these two.
    for (let count = 0; count < 2; count++) await own.request('a', {}, async () => void log.push('next'))
    await new Promise(resolve => setTimeout(resolve, 120))
    expect(log).toEqual(['other begins', 'thief', 'other ends', 'next', 'next'])
    expect(readdirSync(folder)).toEqual([])
  })

  it('leaves at once by its signal while another process holds it', async () => {
    const [other, own] = [make(), make()]
    const first = holder()
    const held = other.request('a', {}, first.hold)
    await first.begun
    const leave = new AbortController()
    const asked = own.request('a', { signal: leave.signal }, async () => undefined)
    leave.abort(new Error('enough'))
    await expect(asked).rejects.toThrow('enough')
    first.release()
    await held
  })

  it('tells a holder of the same process at once that it was robbed, and his release leaves the thief’s lock alone', async () => {
    const lock = make()
    const first = holder()
    let lost: AbortSignal | undefined
    const held = lock
      .request('a', {}, (grip: Grip) => {
        lost = grip.lost
        return first.hold(grip)
      })
      .catch(error => error)
    await first.begun
    await lock.request('a', { steal: true }, async () => {
      expect(lost?.aborted).toBe(true)
      const mine = owner()
      first.release()
      await new Promise(resolve => setTimeout(resolve, 20))
      expect(owner()).toBe(mine)
    })
    await held
    expect(existsSync(file())).toBe(false)
  })

  it('gives a holder that runs without a lock file a grip that is lost: where there is no folder to be had', async () => {
    writeFileSync(join(folder, 'file'), '')
    const lock = fileLock(() => join(folder, 'file/inside/a'), 10_000)
    let grip: Grip | undefined
    await lock.request('a', {}, async (given: Grip) => {
      grip = given
    })
    expect(grip?.lost?.aborted).toBe(true)
  })

  it('goes by the heartbeat and not by the pid where the holder runs in another host or namespace', async () => {
    const dead = { owner: 'somebody', pid: 2 ** 22 + 1, host: 'elsewhere' }
    writeFileSync(file(), JSON.stringify(dead))
    const began = performance.now()
    await make(300).request('a', {}, async () => undefined)
    expect(performance.now() - began).toBeGreaterThan(300)
  })

  it('passes over a holder of this host whose process is dead at once, and over the dead who died breaking it', async () => {
    const [, namespace = ''] = await hostOf()
    const here = `${hostname()} ${namespace}`
    const chain = ['one', 'two', 'three', 'four']
    const dead = chain.map(name => JSON.stringify({ owner: name, pid: 2 ** 22 + 1, host: here }))
    writeFileSync(file(), dead[0]!)
    // Each of them was killed with his claim on the one before.
    for (let index = 1; index < chain.length; index++) writeFileSync(`${file()}.${chain[index - 1]}`, dead[index]!)
    writeFileSync(`${file()}.gone`, dead[2]!)
    let ran = false
    // Far below the lease.
    await make(600_000).request('a', {}, async () => {
      ran = true
    })
    expect(ran).toBe(true)
    expect(readdirSync(folder)).toEqual([])
  })
})

/** As the lock names it: what it wrote. */
async function hostOf(): Promise<string[]> {
  let host = ''
  await make().request('a', {}, async () => {
    host = JSON.parse(readFileSync(file(), 'utf8')).host
  })
  const [, ...namespace] = host.split(' ')
  return [host, namespace.join(' ')]
}
