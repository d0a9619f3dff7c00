import { describe, expect, it } from 'vitest'
import { createSession, encryptedStorage, memoryStorage } from '../../src/index.ts'
import { secret } from '../support/no-leaks.ts'
import { describeStorage } from './storage-suite.ts'

const bytes = (fill: number) => new Uint8Array(32).fill(fill)
const key = 'latchkey:a'

describeStorage('encryptedStorage over a compare-and-set storage', () => ({
  storage: encryptedStorage(memoryStorage(), bytes(1)),
}))

describe('encryptedStorage', () => {
  it('stores nothing that can be read, and never the same twice', async () => {
    const inner = memoryStorage()
    const storage = encryptedStorage(inner, bytes(1))
    await storage.setItem(key, 'plain text')
    const first = await inner.getItem(key)
    await storage.setItem(key, 'plain text')
    expect(first).not.toContain('plain')
    expect(await inner.getItem(key)).not.toBe(first)
  })

  it.each([
    ['plaintext', () => '{"v":1,"id":"x"}'],
    [
      'a flipped bit',
      (sealed: string) => sealed.replace(/"data":"(.)/, (_, first) => `"data":"${first === 'A' ? 'B' : 'A'}`),
    ],
    ['a nonce of nothing', (sealed: string) => sealed.replace(/"iv":"[^"]*"/, '"iv":""')],
    ['what is no base64', (sealed: string) => sealed.replace(/"data":"/, '"data":"!')],
    ['half of it', (sealed: string) => sealed.slice(0, sealed.length / 2)],
    [
      'another nonce',
      (sealed: string) => sealed.replace(/"iv":"(.)/, (_, first) => `"iv":"${first === 'A' ? 'B' : 'A'}`),
    ],
  ])('says storage_corrupt for %s', async (_what, damage) => {
    const inner = memoryStorage()
    const storage = encryptedStorage(inner, bytes(1))
    await storage.setItem(key, 'text')
    await inner.setItem(key, damage((await inner.getItem(key)) as string))
    await expect(storage.getItem(key)).rejects.toMatchObject({ code: 'storage_corrupt' })
  })

  it('says storage_corrupt for a record that was moved to another key, or sealed with another key of the same id', async () => {
    const inner = memoryStorage()
    const storage = encryptedStorage(inner, bytes(1))
    await storage.setItem(key, 'text')
    const sealed = (await inner.getItem(key)) as string
    await inner.setItem('latchkey:b', sealed)
    await expect(storage.getItem('latchkey:b')).rejects.toMatchObject({ code: 'storage_corrupt' })
    await expect(encryptedStorage(inner, bytes(2)).getItem(key)).rejects.toMatchObject({ code: 'storage_corrupt' })
  })

  it('reads with any key of the ring, writes with the current one, and does not call a missing key corrupt', async () => {
    const inner = memoryStorage()
    const [old, young] = [bytes(1), bytes(2)]
    await encryptedStorage(inner, { current: 'old', keys: { old } }).setItem(key, 'text')
    const rotated = encryptedStorage(inner, { current: 'young', keys: { old, young } })
    expect(await rotated.getItem(key)).toBe('text')
    await rotated.setItem(key, 'text')
    expect(await inner.getItem(key)).toContain('"kid":"young"')
    const without = encryptedStorage(inner, { current: 'old', keys: { old } })
    await expect(without.getItem(key)).rejects.not.toMatchObject({ code: 'storage_corrupt' })
  })

  it('takes a CryptoKey', async () => {
    const made = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt'])
    const storage = encryptedStorage(memoryStorage(), made as CryptoKey)
    await storage.setItem(key, 'text')
    expect(await storage.getItem(key)).toBe('text')
  })

  it('compares and sets on the ciphertext of what was read', async () => {
    const inner = memoryStorage()
    const [one, other] = [encryptedStorage(inner, bytes(1)), encryptedStorage(inner, bytes(1))]
    await one.setItem(key, 'first')
    expect(await other.getItem(key)).toBe('first')
    expect(await one.replaceItem?.(key, 'first', 'second')).toBe(true)
    expect(await other.replaceItem?.(key, 'first', 'third')).toBe(false)
    expect(await other.getItem(key)).toBe('second')
  })

  it('compares and sets on what it does not remember any more', async () => {
    const inner = memoryStorage()
    const storage = encryptedStorage(inner, bytes(1))
    await storage.setItem(key, 'first')
    for (let index = 0; index < 1000; index++) await storage.setItem(`latchkey:user-${index}`, 'text')
    expect(await storage.replaceItem?.(key, 'other', 'never')).toBe(false)
    for (let index = 0; index < 1000; index++) await storage.setItem(`latchkey:user-${index}`, 'text')
    expect(await storage.replaceItem?.(key, 'first', 'second')).toBe(true)
    expect(await storage.getItem(key)).toBe('second')
  })

  it.each([
    ['of another algorithm', { name: 'AES-CBC', length: 256 }, ['encrypt', 'decrypt']],
    ['that may not decrypt', { name: 'AES-GCM', length: 256 }, ['encrypt']],
  ] as const)('does not call a record corrupt because of a key %s', async (_what, algorithm, usages) => {
    const inner = memoryStorage()
    await encryptedStorage(inner, bytes(1)).setItem(key, 'text')
    const wrong = (await crypto.subtle.generateKey(algorithm, false, [...usages])) as CryptoKey
    const error = await Promise.resolve(encryptedStorage(inner, wrong).getItem(key)).catch(failure => failure)
    expect(error).toBeInstanceOf(Error)
    expect(error).not.toMatchObject({ code: 'storage_corrupt' })
  })

  it('does not take what every object has for a key', async () => {
    const inner = memoryStorage()
    const storage = encryptedStorage(inner, bytes(1))
    await storage.setItem(key, 'text')
    const sealed = String(await inner.getItem(key))
    await inner.setItem(key, sealed.replace('"kid":""', '"kid":"constructor"'))
    await expect(storage.getItem(key)).rejects.toThrow('no key "constructor"')
    expect(() => encryptedStorage(inner, { current: 'constructor', keys: {} })).toThrow(/no key/)
  })

  it('refuses a key of another length, and a ring without its current key', () => {
    expect(() => encryptedStorage(memoryStorage(), new Uint8Array(16))).toThrow(/32/)
    expect(() => encryptedStorage(memoryStorage(), { current: 'x', keys: {} })).toThrow(/no key "x"/)
  })

  it('passes scope, lock, watch and readOnly of the storage below through', () => {
    const lock = { request: () => Promise.resolve() }
    const inner = { ...memoryStorage(), scope: 'shared' as const, lock, readOnly: true, watch: () => () => undefined }
    const storage = encryptedStorage(inner, bytes(1))
    expect(storage).toMatchObject({ scope: 'shared', lock, readOnly: true })
    expect(storage.watch).toBeTypeOf('function')
    expect(encryptedStorage(memoryStorage(), bytes(1)).watch).toBeUndefined()
  })

  it('keeps a session over a restart, and a damaged record ends it with its reason until the next sign-in', async () => {
    const inner = memoryStorage()
    const options = {
      resources: 'https://api.example.com',
      grant: async () => ({ access_token: secret('new') }),
      fetch: (async () => new Response('ok')) as typeof fetch,
      storage: encryptedStorage(inner, bytes(1)),
    }
    const first = createSession(options)
    await first.adopt({ access_token: secret('a'), expires_in: 60 })
    first.dispose()
    const second = createSession(options)
    expect(await second.getAccessToken()).toBe(secret('a'))
    second.dispose()
    await inner.setItem('latchkey:api.example.com', 'torn')
    const third = createSession(options)
    await expect(third.getAccessToken()).rejects.toMatchObject({ code: 'signed_out' })
    expect(third.state).toEqual({ status: 'signed-out', reason: 'storage_corrupt' })
    expect(await inner.getItem('latchkey:api.example.com')).toBe('torn')
    await third.adopt({ access_token: secret('b'), expires_in: 60 })
    expect(await inner.getItem('latchkey:api.example.com')).not.toBe('torn')
  })
})
