import { describe, expect, it } from 'vitest'
import type { TokenStorage } from '../../src/index.ts'
import { memoryLock } from '../../src/locks/memory.ts'
import { splitItems } from '../../src/storage/split-items.ts'
import { describeStorage } from './storage-suite.ts'

/** A keychain whose items take few characters of UTF-8, and that may be killed at its n-th write. */
function createKeychain(longest = 40) {
  const kept = new Map<string, string>()
  const state = { writesLeft: Number.POSITIVE_INFINITY }
  const lock = memoryLock()
  const spend = () => {
    if (state.writesLeft-- <= 0) throw new Error('killed')
  }
  const storage: TokenStorage = splitItems({
    longest,
    getItem: async name => kept.get(name),
    async setItem(name, value) {
      spend()
      kept.set(name, Buffer.from(value).toString())
    },
    async removeItem(name) {
      spend()
      return kept.delete(name)
    },
    exclusively: (name, run) => lock.request(name, {}, run),
  })
  return { kept, state, storage }
}

describeStorage('splitItems', () => ({ storage: createKeychain().storage }))

describe('splitItems', () => {
  const old = 'old '.repeat(50)
  const next = 'next '.repeat(70)

  it('leaves the old or the new value after a kill at any write, and overwrites what was left over', async () => {
    const outcomes = new Set<string>()
    for (let kill = 0; kill < 20; kill++) {
      const { kept, state, storage } = createKeychain()
      await storage.setItem('key', old)
      state.writesLeft = kill
      await Promise.resolve(storage.setItem('key', next)).catch(() => undefined)
      state.writesLeft = Number.POSITIVE_INFINITY
      const value = await storage.getItem('key')
      expect([old, next]).toContain(value)
      outcomes.add(String(value))
      await storage.setItem('key', next)
      await storage.setItem('key', old)
      expect(await storage.getItem('key')).toBe(old)
      await storage.removeItem('key')
      expect([...kept.keys()].length).toBeLessThanOrEqual(9)
    }
    expect(outcomes.size).toBe(2)
  })

  it('keeps nothing behind after a value in parts became a short one', async () => {
    const { kept, storage } = createKeychain()
    await storage.setItem('key', old)
    await storage.setItem('key', 'short')
    expect([...kept.keys()]).toEqual(['key'])
  })

  it('does not split in the middle of a character', async () => {
    const { storage } = createKeychain(41)
    const text = '💂🏽'.repeat(50)
    await storage.setItem('key', text)
    expect(await storage.getItem('key')).toBe(text)
  })

  it.each([
    ['text of somebody else', 'a password'],
    ['a head whose parts are gone', 'latchkey+a.2.0123456789abcdef0123456789abcdef'],
  ])('says storage_corrupt about %s', async (_what, text) => {
    const { kept, storage } = createKeychain()
    kept.set('key', text)
    await expect(storage.getItem('key')).rejects.toMatchObject({ code: 'storage_corrupt' })
  })
})
