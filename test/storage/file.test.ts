import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession } from '../../src/index.ts'
import { fileStorage } from '../../src/node.ts'
import { describeLock } from '../locks/lock-suite.ts'
import { secret } from '../support/no-leaks.ts'
import { describeStorage } from './storage-suite.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'latchkey-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

describeStorage('fileStorage', () => ({ storage: fileStorage(join(folder, 'credentials')) }))
describeLock('the lock of fileStorage', () => {
  const { lock } = fileStorage(join(folder, 'credentials'))
  if (!lock) throw new Error('fileStorage brings a lock')
  return lock
})

const key = 'latchkey:a'
const mode = (path: string) => statSync(path).mode & 0o777

describe('fileStorage', () => {
  it('makes the file 0600 and the folders that it makes 0700', async () => {
    const path = join(folder, 'new/credentials')
    await fileStorage(path).setItem(key, 'text')
    expect(mode(path)).toBe(0o600)
    expect(mode(join(folder, 'new'))).toBe(0o700)
  })

  it('refuses a file that others can read, says which chmod, and looks again at the next call', async () => {
    const path = join(folder, 'credentials')
    const storage = fileStorage(path)
    await storage.setItem(key, 'text')
    chmodSync(path, 0o644)
    expect(() => storage.getItem(key)).toThrow(`chmod 600 ${path}`)
    const session = createSession({
      resources: 'https://api.example.com',
      grant: async () => ({ access_token: 'x' }),
      name: 'a',
      storage,
    })
    await expect(session.getAccessToken()).rejects.toMatchObject({ code: 'storage_unavailable' })
    chmodSync(path, 0o600)
    await expect(session.getAccessToken()).rejects.toMatchObject({ code: 'signed_out' })
  })

  it('keeps two keys on one path apart, whichever comes first', async () => {
    const path = join(folder, 'credentials')
    const [one, other] = [fileStorage(path), fileStorage(path)]
    await one.setItem('latchkey:alice', 'A')
    await other.setItem('latchkey:bob', 'B')
    expect([await other.getItem('latchkey:alice'), await one.getItem('latchkey:bob')]).toEqual(['A', 'B'])
    await one.removeItem('latchkey:alice')
    expect(await one.getItem('latchkey:bob')).toBe('B')
    expect(await one.getItem('latchkey:alice')).toBeUndefined()
  })

  it('writes through a symbolic link and leaves the link where it is', async () => {
    writeFileSync(join(folder, 'real'), JSON.stringify({ key, value: 'old' }), { mode: 0o600 })
    symlinkSync(join(folder, 'real'), join(folder, 'link'))
    await fileStorage(join(folder, 'link')).setItem(key, 'new')
    expect(readFileSync(join(folder, 'real'), 'utf8')).toContain('new')
    expect(await fileStorage(join(folder, 'link')).getItem(key)).toBe('new')
  })

  it('says storage_corrupt for a torn file and for one of somebody else', async () => {
    for (const text of ['{"key":"latch', '{"token":1}', '']) {
      writeFileSync(join(folder, 'credentials'), text, { mode: 0o600 })
      expect(() => fileStorage(join(folder, 'credentials')).getItem(key)).toThrow(
        expect.objectContaining({ code: 'storage_corrupt' }),
      )
    }
  })

  it('lets a sign-in write over a damaged file, and over nothing else of another key', async () => {
    const path = join(folder, 'credentials')
    const storage = fileStorage(path)
    await storage.setItem('latchkey:other', 'theirs')
    await storage.setItem(key, 'ours')
    const [own = ''] = readdirSync(folder).filter(name => name !== 'credentials')
    for (const damaged of [join(folder, own), path]) {
      writeFileSync(damaged, '{"key":"latch', { mode: 0o600 })
      const session = createSession({
        resources: 'https://api.example.com',
        grant: async () => ({ access_token: 'x' }),
        name: damaged === path ? 'other' : 'a',
        storage,
      })
      await expect(session.getAccessToken()).rejects.toMatchObject({ code: 'signed_out' })
      expect(session.state).toEqual({ status: 'signed-out', reason: 'storage_corrupt' })
      const failures: unknown[] = []
      session.on('storage-failed', failure => failures.push(failure))
      await session.adopt({ access_token: secret('a'), expires_in: 60 })
      expect(failures).toEqual([])
      expect(readFileSync(damaged, 'utf8')).toContain(secret('a'))
      session.dispose()
    }
    expect(
      readdirSync(folder)
        .filter(name => !name.includes('.lock'))
        .sort(),
    ).toEqual(['credentials', own])
  })

  it('keeps two first keys apart that two processes write at once', async () => {
    const path = join(folder, 'credentials')
    // Both look before either writes: the second finds the file only as it puts its own there.
    const late = fileStorage(path)
    const sneak = vi.spyOn(JSON, 'stringify').mockImplementationOnce(value => {
      sneak.mockRestore()
      fileStorage(path).setItem('latchkey:alice', 'A')
      return JSON.stringify(value)
    })
    await late.setItem('latchkey:bob', 'B')
    expect([await late.getItem('latchkey:alice'), await late.getItem('latchkey:bob')]).toEqual(['A', 'B'])
  })

  it('makes what a link points to, where that is not there yet', async () => {
    symlinkSync('real', join(folder, 'link'))
    await fileStorage(join(folder, 'link')).setItem(key, 'new')
    expect(readdirSync(folder).sort()).toEqual(['link', 'real'])
    expect(await fileStorage(join(folder, 'link')).getItem(key)).toBe('new')
  })

  it('tells who watched before there was a folder of the first sign-in elsewhere', async () => {
    const path = join(folder, 'later/credentials')
    const session = createSession({
      resources: 'https://api.example.com',
      grant: async () => ({ access_token: 'x' }),
      name: 'a',
      storage: fileStorage(path),
    })
    await session.ready
    expect(session.state.status).toBe('signed-out')
    const signedIn = new Promise(resolve => session.on('signed-in', resolve))
    const elsewhere = fileStorage(path)
    await elsewhere.setItem(
      key,
      JSON.stringify({
        v: 1,
        id: 'f'.repeat(32),
        generation: 1,
        grant: 'custom',
        tokens: { accessToken: secret('a'), tokenType: 'Bearer', expiresAtMs: Date.now() + 60_000 },
        savedAtMs: Date.now(),
      }),
    )
    await signedIn
    expect(mode(join(folder, 'later'))).toBe(0o700)
    session.dispose()
  })

  it.each([
    ['an empty path', () => fileStorage('')],
    ['a lease of nothing', () => fileStorage('x', { leaseMs: 0 })],
  ])('refuses %s at once', (_what, make) => {
    expect(make).toThrow(expect.objectContaining({ code: 'misconfigured' }))
  })

  it('sweeps what killed writers left, for temporary files hold tokens', async () => {
    const path = join(folder, 'credentials')
    const left = `${path}.999999999.abc.tmp`
    writeFileSync(left, 'tokens', { mode: 0o600 })
    await fileStorage(path).setItem(key, 'text')
    expect(existsSync(left)).toBe(false)
    expect(readdirSync(folder)).toEqual(['credentials'])
  })

  it('lets no lock file behind', async () => {
    const { lock } = fileStorage(join(folder, 'credentials'))
    await lock?.request('any', {}, async () => undefined)
    expect(readdirSync(folder)).toEqual([])
  })

  it('keeps a session over a restart', async () => {
    const options = {
      resources: 'https://api.example.com',
      grant: async () => ({ access_token: secret('new') }),
      storage: fileStorage(join(folder, 'credentials')),
    }
    const first = createSession(options)
    await first.adopt({ access_token: secret('a'), expires_in: 60 })
    first.dispose()
    const second = createSession({ ...options, storage: fileStorage(join(folder, 'credentials')) })
    expect(await second.getAccessToken()).toBe(secret('a'))
    second.dispose()
  })
})
