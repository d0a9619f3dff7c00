// Runs in a mount namespace of its own, see disk.test.ts: a disk of 96 kB that can be filled and made read-only.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createSession, isSessionError, type TokenStorage } from '../../src/index.ts'
import { fileStorage } from '../../src/node.ts'

const [what = '', disk = ''] = process.argv.slice(2)
mkdirSync(disk, { recursive: true })
execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=96k', 'tmpfs', disk])
const remount = (mode: 'ro' | 'rw') => execFileSync('mount', ['-o', `remount,${mode}`, disk])
const folder = join(disk, 'app')
const path = join(folder, 'credentials')
const key = 'latchkey:a'

let renewals = 0
const make = (storage: TokenStorage) => {
  const failures: string[] = []
  const session = createSession({
    resources: 'https://api.example.com',
    name: 'a',
    storage,
    renewal: { minIntervalMs: 0, lockTimeoutMs: 3000 },
    grant: async () => ({ access_token: `renewed-${++renewals}`, refresh_token: 'next', expires_in: 3600 }),
  })
  session.on('storage-failed', ({ error }) => failures.push(error.code))
  return { session, failures }
}
const failureOf = async (run: Promise<unknown>) => {
  const error = await run.then(
    () => 'nothing',
    reason => reason,
  )
  assert.ok(isSessionError(error), String(error))
  const { code } = (error.cause ?? {}) as { code?: string }
  return { code: error.code, cause: code }
}
const files = () => readdirSync(folder).filter(name => !name.startsWith('filler'))

/** Leaves so many bytes, and not a page more. */
function fill(bytes: number): void {
  const page = 4096
  try {
    for (let index = 0; ; index++)
      writeFileSync(join(folder, `filler-${String(index).padStart(3, '0')}`), Buffer.alloc(page))
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
  }
  const full = readdirSync(folder).filter(name => name.startsWith('filler'))
  for (let freed = 0; freed < bytes; freed += page) rmSync(join(folder, full.pop() ?? ''))
  // The one that did not fit any more is empty and costs nothing.
}
const unfill = () => {
  for (const name of readdirSync(folder)) if (name.startsWith('filler')) rmSync(join(folder, name))
}

const first = make(fileStorage(path))
await first.session.adopt({ access_token: 'kept', refresh_token: 'refresh', expires_in: 3600 })
first.session.dispose()
// After its own look under the lock.
await fileStorage(path).lock?.request(key, {}, async () => undefined)
const stored = readFileSync(path, 'utf8')

if (what === 'read-only') {
  remount('ro')
  const { session, failures } = make(fileStorage(path))
  assert.equal(await session.getAccessToken(), 'kept')
  assert.deepEqual(await failureOf(session.renew()), { code: 'read_only', cause: 'read_only' })
  assert.deepEqual(await failureOf(session.renew()), { code: 'read_only', cause: 'read_only' })
  assert.equal(renewals, 0)
  assert.equal(await session.getAccessToken(), 'kept')
  assert.deepEqual(files(), ['credentials'])
  // What a sign-in brings serves from memory, and the app is told.
  failures.length = 0
  await session.adopt({ access_token: 'another', refresh_token: 'refresh', expires_in: 3600 })
  assert.deepEqual(failures, ['read_only'])
  assert.equal(await session.getAccessToken(), 'another')
  assert.equal(readFileSync(path, 'utf8'), stored)
  const nowhere = fileStorage(join(disk, 'other/credentials'))
  for (const write of [
    () => nowhere.setItem(key, 'text'),
    () => fileStorage(path).setItem(key, 'text'),
    () => fileStorage(path).removeItem(key),
  ]) {
    assert.throws(write, { code: 'read_only' })
  }
  // As long as it lasts, and no longer.
  remount('rw')
  assert.deepEqual(await session.renew(), { how: 'renewed' })
  assert.match(readFileSync(path, 'utf8'), /renewed-1/)
  session.dispose()
}

if (what === 'full') {
  const { session, failures } = make(fileStorage(path))
  assert.equal(await session.getAccessToken(), 'kept')
  fill(0)
  assert.deepEqual(await failureOf(session.renew()), { code: 'storage_unavailable', cause: 'ENOSPC' })
  assert.equal(renewals, 0)
  assert.equal(readFileSync(path, 'utf8'), stored)
  assert.deepEqual(files(), ['credentials'])
  assert.equal(await session.getAccessToken(), 'kept')
  assert.deepEqual(
    failures.filter(code => code !== 'storage_unavailable'),
    [],
  )
  unfill()
  assert.deepEqual(await session.renew(), { how: 'renewed' })
  session.dispose()
}

if (what === 'filling-up') {
  // Room for a part of the new record: the write begins well and ends on a full disk.
  const long = 'x'.repeat(40_000)
  for (const room of [4096, 8192, 20_480]) {
    const storage = fileStorage(path)
    const before = readFileSync(path, 'utf8')
    fill(room)
    assert.throws(() => storage.setItem(key, long), { code: 'ENOSPC' })
    assert.throws(() => storage.setItem('latchkey:b', long), { code: 'ENOSPC' })
    assert.equal(readFileSync(path, 'utf8'), before)
    assert.deepEqual(files(), ['credentials'])
    unfill()
    storage.setItem(key, long)
    assert.equal(await storage.getItem(key), long)
  }
}
assert.ok(existsSync(path))
console.log('all well')
process.exit()
