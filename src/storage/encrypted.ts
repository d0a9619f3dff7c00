import type { TokenStorage } from '../ports/token-storage.ts'
import { SessionError } from '../values/errors.ts'
import { passThrough } from './pass-through.ts'
import { isWebStorage, webStorage } from './web.ts'

type Key = CryptoKey | Uint8Array

/** Keys by id: records are written with the `current` one and read with any. */
export interface KeyRing {
  readonly current: string
  readonly keys: Readonly<Record<string, Key>>
}

/** What is stored: base64 of a fresh nonce and the ciphertext with its tag. */
interface Sealed {
  readonly v: 1
  readonly kid: string
  readonly iv: string
  readonly data: string
}

/**
 * AES-256-GCM (WebCrypto) over any storage. The storage key is authenticated, so that records can't be swapped.
 * Damage, a swap or plaintext is `storage_corrupt`; a key id that the ring lacks is `storage_unavailable`. Neither is overwritten before a
 * new sign-in. To rotate: add a key, make it `current`, drop the old one once every record was written again.
 * It protects what lies in the storage, not from scripts that run beside it.
 * @throws SessionError `misconfigured` without WebCrypto or with a key that is not 256 bits
 */
export function encryptedStorage(storage: TokenStorage | Storage, key: Key | KeyRing): TokenStorage {
  const inner = isWebStorage(storage) ? webStorage(storage) : storage
  const subtle = globalThis.crypto?.subtle
  if (!subtle) {
    throw new SessionError(
      'misconfigured',
      'encryptedStorage needs WebCrypto (crypto.subtle): a secure context, or Node.',
    )
  }
  // A Uint8Array has `keys` too.
  const ring: KeyRing =
    typeof (key as KeyRing).current === 'string' ? (key as KeyRing) : { current: '', keys: { '': key as Key } }
  if (!ring.keys[ring.current]) throw new SessionError('misconfigured', `The key ring has no key "${ring.current}".`)
  const imported = new Map<string, Promise<CryptoKey>>()
  for (const [id, value] of Object.entries(ring.keys)) {
    if (value instanceof Uint8Array && value.length !== 32) {
      throw new SessionError('misconfigured', `The key "${id}" has ${value.length} bytes. AES-256 takes 32.`)
    }
  }

  function keyOf(id: string): Promise<CryptoKey> {
    const value = ring.keys[id]
    if (!value) throw new Error(`The key ring has no key "${id}", which a stored record was written with.`)
    const known = imported.get(id)
    if (known) return known
    const made =
      value instanceof Uint8Array
        ? subtle.importKey('raw', value as Uint8Array<ArrayBuffer>, 'AES-GCM', false, ['encrypt', 'decrypt'])
        : Promise.resolve(value)
    imported.set(id, made)
    return made
  }

  const algorithm = (iv: Uint8Array<ArrayBuffer>, storageKey: string) => ({
    name: 'AES-GCM',
    iv,
    additionalData: new TextEncoder().encode(storageKey),
  })

  async function seal(storageKey: string, text: string): Promise<string> {
    const iv = crypto.getRandomValues(new Uint8Array(12))
    const data = await subtle.encrypt(
      algorithm(iv, storageKey),
      await keyOf(ring.current),
      new TextEncoder().encode(text),
    )
    const sealed: Sealed = { v: 1, kid: ring.current, iv: toBase64(iv), data: toBase64(new Uint8Array(data)) }
    return JSON.stringify(sealed)
  }

  async function unseal(storageKey: string, text: string): Promise<string> {
    const sealed = parse(text)
    if (!sealed) throw corrupt()
    const cryptoKey = await keyOf(sealed.kid)
    try {
      const plain = await subtle.decrypt(
        algorithm(fromBase64(sealed.iv), storageKey),
        cryptoKey,
        fromBase64(sealed.data),
      )
      return new TextDecoder().decode(plain)
    } catch {
      throw corrupt()
    }
  }

  // Compare and set means the string that was read; below, that is its ciphertext.
  const last = new Map<string, { plain: string; sealed: string }>()
  const { replaceItem } = inner

  return passThrough(inner, {
    async getItem(storageKey) {
      const sealed = await inner.getItem(storageKey)
      if (sealed === null || sealed === undefined) {
        last.delete(storageKey)
        return sealed
      }
      const plain = await unseal(storageKey, sealed)
      last.set(storageKey, { plain, sealed })
      return plain
    },
    async setItem(storageKey, plain) {
      const sealed = await seal(storageKey, plain)
      await inner.setItem(storageKey, sealed)
      last.set(storageKey, { plain, sealed })
    },
    ...(typeof replaceItem === 'function' && {
      async replaceItem(storageKey: string, expected: string | undefined, plain: string) {
        const known = last.get(storageKey)
        if (expected !== undefined && known?.plain !== expected) return false
        const sealed = await seal(storageKey, plain)
        const base = expected === undefined ? undefined : known?.sealed
        const isDone = await replaceItem.call(inner, storageKey, base, sealed)
        if (isDone) last.set(storageKey, { plain, sealed })
        return isDone
      },
    }),
  })
}

const corrupt = () =>
  Object.assign(new Error('The stored value is not what encryptedStorage wrote there.'), { code: 'storage_corrupt' })

function parse(text: string): Sealed | undefined {
  try {
    const { v, kid, iv, data } = JSON.parse(text) as Partial<Sealed>
    const isSealed = v === 1 && [kid, iv, data].every(part => typeof part === 'string')
    return isSealed ? ({ v, kid, iv, data } as Sealed) : undefined
  } catch {
    return undefined
  }
}

function toBase64(bytes: Uint8Array): string {
  let binary = ''
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary)
}

const fromBase64 = (text: string) => Uint8Array.from(atob(text), character => character.charCodeAt(0))
