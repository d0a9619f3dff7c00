import { describe, expect, it } from 'vitest'
import type { TokenStorage } from '../../src/index.ts'

/** A storage under test, fresh and empty. */
export interface StorageSubject {
  readonly storage: TokenStorage
  /** Somebody else writes or removes (`undefined`) the item; resolves once the news had its chance to arrive. Absent where nobody else can. */
  readonly changeElsewhere?: (key: string, value: string | undefined) => void | Promise<void>
}

const absent = (value: unknown) => value === null || value === undefined

/** What every `TokenStorage` does. */
export function describeStorage(name: string, make: () => StorageSubject | Promise<StorageSubject>): void {
  describe(`${name} is a token storage`, () => {
    it('reads null or undefined where nothing is stored', async () => {
      const { storage } = await make()
      expect(absent(await storage.getItem('latchkey:nothing'))).toBe(true)
    })

    it.each([
      ['an empty string', ''],
      ['64 kB', 'abcdefgh'.repeat(8192)],
      ['text beyond the basic plane', '{"name":"💂🏽 Zoë 漢字 \u0000 \u2028 "}'],
      ['what looks like a number', '007'],
    ])('gives back %s as it was', async (_what, text) => {
      const { storage } = await make()
      await storage.setItem('latchkey:a', text)
      expect(await storage.getItem('latchkey:a')).toBe(text)
    })

    it('keeps the last of several values', async () => {
      const { storage } = await make()
      for (const text of ['first', 'second', 'third']) await storage.setItem('latchkey:a', text)
      expect(await storage.getItem('latchkey:a')).toBe('third')
    })

    it('forgets what was removed, and removing nothing is no error', async () => {
      const { storage } = await make()
      await storage.setItem('latchkey:a', 'text')
      await storage.removeItem('latchkey:a')
      await storage.removeItem('latchkey:a')
      expect(absent(await storage.getItem('latchkey:a'))).toBe(true)
    })

    it('keeps two keys apart, whatever they are called', async () => {
      const { storage } = await make()
      const keys = [
        'latchkey:a',
        'latchkey:A',
        'latchkey:a:b',
        'latchkey:api.example.com,[::1]:8080',
        'latchkey:__proto__',
      ]
      for (const key of keys) await storage.setItem(key, `value of ${key}`)
      await storage.removeItem('latchkey:a')
      const values = await Promise.all(keys.map(key => storage.getItem(key)))
      expect(values.map(value => value ?? undefined)).toEqual([
        undefined,
        ...keys.slice(1).map(key => `value of ${key}`),
      ])
    })

    it('compares and sets on the exact string, if it can at all', async () => {
      const { storage } = await make()
      if (!storage.replaceItem) return
      const key = 'latchkey:a'
      expect(await storage.replaceItem(key, 'something', 'never')).toBe(false)
      expect(absent(await storage.getItem(key))).toBe(true)
      expect(await storage.replaceItem(key, undefined, 'one')).toBe(true)
      expect(await storage.replaceItem(key, undefined, 'never')).toBe(false)
      expect(await storage.replaceItem(key, 'one ', 'never')).toBe(false)
      expect(await storage.getItem(key)).toBe('one')
      expect(await storage.replaceItem(key, 'one', 'two')).toBe(true)
      await storage.removeItem(key)
      expect(await storage.replaceItem(key, 'two', 'never')).toBe(false)
      expect(absent(await storage.getItem(key))).toBe(true)
    })

    it('lets exactly one of many who compare with the same string write, if it can compare at all', async () => {
      const { storage } = await make()
      if (!storage.replaceItem) return
      await storage.setItem('latchkey:a', 'base')
      const results = await Promise.all(
        Array.from({ length: 20 }, async (_, index) => storage.replaceItem?.('latchkey:a', 'base', `winner ${index}`)),
      )
      const winners = results.flatMap((won, index) => (won ? [`winner ${index}`] : []))
      expect(winners).toEqual([await storage.getItem('latchkey:a')])
    })

    it('tells of changes by others, and not after off, if it can at all', async () => {
      const { storage, changeElsewhere } = await make()
      if (!storage.watch || !changeElsewhere) return
      const seen: unknown[] = []
      const off = storage.watch('latchkey:a', async () => {
        seen.push((await storage.getItem('latchkey:a')) ?? 'gone')
      })
      await changeElsewhere('latchkey:b', 'another key')
      expect(seen).toEqual([])
      await changeElsewhere('latchkey:a', 'news')
      expect(seen).toEqual(['news'])
      await changeElsewhere('latchkey:a', undefined)
      expect(seen).toEqual(['news', 'gone'])
      off()
      off()
      await changeElsewhere('latchkey:a', 'too late')
      expect(seen).toHaveLength(2)
    })
  })
}
