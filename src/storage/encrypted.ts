import type { TokenStorage } from '../ports/token-storage.ts'
import { SessionError } from '../values/errors.ts'
import { passThrough } from './pass-through.ts'
import { isWebStorage, webStorage } from './web.ts'

type Key = CryptoKey | Uint8Array

/** Keys of 256 bits by id: records are written with the `current` one and read with any. */
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
 * It protects what lies in the storage, not from scripts that run beside it. Lock, watch and the like of the storage below pass through.
 * @param key A `CryptoKey` for AES-GCM that may encrypt and decrypt, 32 bytes, or a ring of either.
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
  const keyIn = (id: string) => (Object.hasOwn(ring.keys, id) ? ring.keys[id] : undefined)
  if (!keyIn(ring.current)) throw new SessionError('misconfigured', `The key ring has no key "${ring.current}".`)
  const imported = new Map<string, Promise<CryptoKey>>()
  for (const [id, value] of Object.entries(ring.keys)) {
    if (value instanceof Uint8Array && value.length !== 32) {
      throw new SessionError('misconfigured', `The key "${id}" has ${value.length} bytes. AES-256 takes 32.`)
    }
  }

  function keyOf(id: string): Promise<CryptoKey> {
    const value = keyIn(id)
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
    const [iv, data] = [fromBase64(sealed.iv), fromBase64(sealed.data)]
    if (!iv?.length || !data) throw corrupt()
    try {
      return new TextDecoder().decode(await subtle.decrypt(algorithm(iv, storageKey), cryptoKey, data))
    } catch (error) {
      // Anything else is about the key: one that may not decrypt, or of another algorithm. What it can't read is not damaged.
      throw (error as Error | undefined)?.name === 'OperationError' ? corrupt() : error
    }
  }

  // Compare and set means the string that was read; below, that is its ciphertext. Not of all users that a pool ever had.
  const last = new Map<string, Known>()
  const { replaceItem } = inner

  function remember(storageKey: string, known: Known): Known {
    last.delete(storageKey)
    last.set(storageKey, known)
    const [oldest] = last.keys()
    if (last.size > mostKnown && oldest !== undefined) last.delete(oldest)
    return known
  }

  async function read(storageKey: string): Promise<Known | undefined> {
    const sealed = await inner.getItem(storageKey)
    if (sealed === null || sealed === undefined) {
      last.delete(storageKey)
      return undefined
    }
    return remember(storageKey, { plain: await unseal(storageKey, sealed), sealed })
  }

  return passThrough(inner, {
    getItem: async storageKey => (await read(storageKey))?.plain,
    async setItem(storageKey, plain) {
      const sealed = await seal(storageKey, plain)
      await inner.setItem(storageKey, sealed)
      remember(storageKey, { plain, sealed })
    },
    ...(typeof replaceItem === 'function' && {
      async replaceItem(storageKey: string, expected: string | undefined, plain: string) {
        const known = expected === undefined ? undefined : (last.get(storageKey) ?? (await read(storageKey)))
        if (known?.plain !== expected) return false
        const sealed = await seal(storageKey, plain)
        const isDone = await replaceItem.call(inner, storageKey, known?.sealed, sealed)
        if (isDone) remember(storageKey, { plain, sealed })
        return isDone
      },
    }),
  })
}

/** A value as it was read or written, and what lies below. */
interface Known {
  readonly plain: string
  readonly sealed: string
}

const mostKnown = 1000

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

function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), character => character.charCodeAt(0))
  } catch {
    return undefined
  }
}
