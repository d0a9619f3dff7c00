import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

/** Whether this process may mount a disk of its own. A mount needs rights that not every container has. */
const unshare = (() => {
  if (process.platform !== 'linux') return undefined
  const mount = ['sh', '-c', 'mount -t tmpfs tmpfs /mnt']
  const ways = [['-m'], ['-rm']]
  const way = ways.find(flags => spawnSync('unshare', [...flags, ...mount]).status === 0)
  if (!way) console.error('\n!!! No right to mount: the tests on full and read-only disks are SKIPPED.\n')
  return way
})()

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'latchkey-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe.skipIf(!unshare)('fileStorage on a real disk', () => {
  it.each([
    [
      'that is read-only: the token serves, a renewal is read_only and spends nothing, until it can be written',
      'read-only',
    ],
    ['that is full: a renewal is storage_unavailable and spends nothing, and no lock stays behind', 'full'],
    ['that fills up in the middle of a write: the old record stays, whole', 'filling-up'],
  ])(
    '%s',
    async (_what, scenario) => {
      const script = fileURLToPath(new URL('./disk.ts', import.meta.url))
      const command = [...(unshare ?? []), process.execPath, '--disable-warning=ExperimentalWarning', script]
      const { stdout } = await promisify(execFile)('unshare', [...command, scenario, join(folder, scenario)])
      expect(stdout.trim()).toBe('all well')
    },
    30_000,
  )
})
