import type { TokenStorage } from '../ports/token-storage.ts'
import type { InstallMarker } from './install-marker.ts'
import {
  bounded,
  inTurn,
  type KeyState,
  nativeTimeoutMs,
  type Place,
  promptTimeoutMs,
  stateOf,
} from './native-calls.ts'
import { checksumOf, chunksOf } from './text-chunks.ts'
import { setAnchor } from './web.ts'

/** A native store of small items: heads, which hold no secret and never prompt, and the parts of a record. */
export interface NativeItems {
  get(item: string, kind: 'head' | 'part'): Promise<string | null>
  set(item: string, text: string, kind: 'head' | 'part'): Promise<unknown>
  /** Removing nothing is no error. */
  remove(item: string): Promise<unknown>
  /** This value can never be decrypted; any other rejection means "not now". */
  isCorrupt(error: unknown): boolean
}

export interface SlotOptions {
  /** Names the module in messages. */
  readonly name: string
  readonly items: NativeItems
  readonly place: Place
  /** How items are protected. Items written another way are written anew at the first good read. */
  readonly accessClass: string
  /** UTF-8 bytes; `Infinity`: one part, whatever its size. */
  readonly partBytes: number
  /** Reading or writing parts may prompt. */
  readonly interactive: boolean
  readonly marker: InstallMarker | undefined
}

/** What stands in a head. It is written after all parts, in one native call. */
interface Head {
  readonly v: 1
  /** Generation: of two heads the higher counts. */
  readonly n: number
  readonly parts: number
  readonly length: number
  readonly sum: number
  readonly access: string
  readonly install?: string | undefined
}

type Found = Head | 'damaged' | undefined
type Heads = readonly [Found, Found]

/**
 * A token storage over native items, whole after a kill at any instant. Each key has two slots of one head and some parts:
 *
 * 1. The slot that does not count is swept, so that its items are made anew: an iOS item keeps its accessibility class for life.
 * 2. Its parts are written upwards, its head last: from that call on the new text counts.
 * 3. The other slot is swept, its head first, its parts downwards. So a head always has all its parts, and what a kill leaves without a
 *    head is parts 0 to n without a gap, which can be found although stores list no keys.
 *
 * Where the only readable head may not be the newest, the record is corrupt: an older one holds a spent refresh token.
 */
export function slotStorage({
  name,
  items,
  place,
  accessClass,
  partBytes,
  interactive,
  marker,
}: SlotOptions): TokenStorage {
  const partMs = interactive ? promptTimeoutMs : nativeTimeoutMs

  async function getItem(key: string): Promise<string | undefined> {
    const state = stateOf(place, key)
    return new Promise((resolve, reject) => {
      inTurn(state, async () => {
        try {
          const { text, upkeep } = await open(key, state)
          resolve(text)
          await upkeep()
        } catch (error) {
          // After the text was handed out this changes nothing: upkeep is tried again at the next read.
          reject(error)
        }
      })
    })
  }

  /** The text, and what is to be done once its reader has it. */
  async function open(key: string, state: KeyState): Promise<{ text: string | undefined; upkeep(): Promise<void> }> {
    const heads = await readHeads(key)
    if (heads.includes('damaged')) throw corrupt()
    const slot = currentOf(heads)
    const head = heads[slot] as Head | undefined
    const install = await marker?.read()
    if (head?.install && install && head.install !== install) {
      await wipe(key, state, heads)
      await marker?.ensure()
      return { text: undefined, upkeep: nothing }
    }
    if (!head) return { text: undefined, upkeep: () => sweepAll(key, state, heads) }
    const text = await readParts(key, slot, head)
    state.text = text
    const isOther = head.access !== accessClass || (install !== undefined && head.install !== install)
    return {
      text,
      upkeep: () => (isOther ? write(key, state, text) : sweep(key, state, 1 - slot, heads[1 - slot])),
    }
  }

  async function readParts(key: string, slot: number, head: Head): Promise<string> {
    let text = ''
    for (let index = 0; index < head.parts; index++) {
      const part = await orCorrupt(call('get', key, slot, index))
      // Android gives null for what it can't decrypt any more.
      if (typeof part !== 'string') throw corrupt()
      text += part
    }
    if (text.length !== head.length || checksumOf(text) !== head.sum) throw corrupt()
    return text
  }

  async function write(key: string, state: KeyState, text: string): Promise<void> {
    const heads = await readHeads(key)
    const install = await marker?.ensure()
    const slot = heads[0] === 'damaged' ? 0 : heads[1] === 'damaged' ? 1 : 1 - currentOf(heads)
    // The generation of a damaged head is not known: it must be gone before a new one can count.
    if (heads[1 - slot] === 'damaged') await sweep(key, state, 1 - slot, 'damaged')
    await sweep(key, state, slot, heads[slot])
    state.tidy.delete(slot)
    const parts = partBytes === Number.POSITIVE_INFINITY ? (text ? [text] : []) : chunksOf(text, partBytes)
    for (const [index, part] of parts.entries()) await call('set', key, slot, index, part)
    const head: Head = {
      v: 1,
      n: Math.max(...heads.map(generationOf)) + 1,
      parts: parts.length,
      length: text.length,
      sum: checksumOf(text),
      access: accessClass,
      install,
    }
    await call('set', key, slot, 'head', JSON.stringify(head))
    state.tidy.add(slot)
    state.text = text
    // The text is saved; what is left of the old one is swept later if it can't be now.
    if (heads[1 - slot] !== 'damaged') await sweep(key, state, 1 - slot, heads[1 - slot]).catch(() => undefined)
  }

  async function removeAll(key: string, state: KeyState): Promise<void> {
    await wipe(key, state, await readHeads(key))
  }

  async function wipe(key: string, state: KeyState, heads: Heads): Promise<void> {
    state.text = undefined
    await sweepAll(key, state, heads)
  }

  /** The slot that counts goes last: while its head is there it is whole. */
  async function sweepAll(key: string, state: KeyState, heads: Heads): Promise<void> {
    const slot = currentOf(heads)
    await sweep(key, state, 1 - slot, heads[1 - slot])
    await sweep(key, state, slot, heads[slot])
  }

  async function sweep(key: string, state: KeyState, slot: number, head: Found): Promise<void> {
    const isTidy = state.tidy.has(slot)
    if (!head && isTidy) return
    state.tidy.delete(slot)
    if (head) await call('remove', key, slot, 'head')
    let count = typeof head === 'object' ? head.parts : 0
    // A look at a part may prompt; where there is but one it is removed unseen.
    if (partBytes === Number.POSITIVE_INFINITY) count = Math.max(count, 1)
    else if (!isTidy) while (await exists(key, slot, count)) count++
    while (count > 0) await call('remove', key, slot, --count)
    state.tidy.add(slot)
  }

  async function exists(key: string, slot: number, index: number): Promise<boolean> {
    try {
      return typeof (await call('get', key, slot, index)) === 'string'
    } catch (error) {
      if (items.isCorrupt(error)) return true
      throw error
    }
  }

  async function readHeads(key: string): Promise<Heads> {
    return Promise.all([readHead(key, 0), readHead(key, 1)])
  }

  async function readHead(key: string, slot: number): Promise<Found> {
    try {
      const text = await call('get', key, slot, 'head')
      return typeof text === 'string' ? (parseHead(text) ?? 'damaged') : undefined
    } catch (error) {
      if (items.isCorrupt(error)) return 'damaged'
      throw error
    }
  }

  /** One native call, bounded. A write that was given up may still land in a slot that counts by then. */
  function call(
    method: 'get' | 'set' | 'remove',
    key: string,
    slot: number,
    which: 'head' | number,
    text = '',
  ): Promise<unknown> {
    const item = `${itemName(key)}.${slot}.${which}`
    const kind = which === 'head' ? 'head' : 'part'
    return bounded(
      `${name} (${method})`,
      () =>
        method === 'get' ? items.get(item, kind) : method === 'set' ? items.set(item, text, kind) : items.remove(item),
      kind === 'head' ? nativeTimeoutMs : partMs,
      method === 'get' ? undefined : () => repair(key, slot),
    )
  }

  /** What landed late may have torn a newer text, which is still known here. With prompts it is left: nobody asked to be asked. */
  function repair(key: string, slot: number): void {
    const state = stateOf(place, key)
    if (interactive) return
    inTurn(state, async () => {
      state.tidy.delete(slot)
      const { text } = state
      const isTorn = await open(key, state).then(
        read => text !== undefined && read.text === undefined,
        error => (error as { code?: unknown }).code === 'storage_corrupt',
      )
      if (isTorn && text !== undefined) await write(key, state, text)
    }).catch(() => undefined)
  }

  async function orCorrupt<T>(reading: Promise<T>): Promise<T> {
    try {
      return await reading
    } catch (error) {
      throw items.isCorrupt(error) ? corrupt(error) : error
    }
  }

  const corrupt = (cause?: unknown) =>
    Object.assign(new Error(`What ${name} holds can not be decrypted, or is not what was written there.`, { cause }), {
      code: 'storage_corrupt',
    })

  const storage: TokenStorage = {
    scope: 'shared',
    lock: place.lock,
    ...(interactive && { interactive }),
    getItem,
    setItem: (key, text) => {
      const state = stateOf(place, key)
      return inTurn(state, () => write(key, state, text))
    },
    removeItem: key => {
      const state = stateOf(place, key)
      return inTurn(state, () => removeAll(key, state))
    },
  }
  // Two adapters of one module are one place: their sessions share one renewal.
  setAnchor(storage, () => place)
  return storage
}

const nothing = () => Promise.resolve()

const generationOf = (head: Found): number => (typeof head === 'object' ? head.n : 0)

const currentOf = ([first, second]: Heads): 0 | 1 => (generationOf(second) > generationOf(first) ? 1 : 0)

function parseHead(text: string): Head | undefined {
  try {
    const head = JSON.parse(text) as Partial<Head>
    const numbers = [head.n, head.parts, head.length, head.sum]
    return head.v === 1 && numbers.every(Number.isSafeInteger) ? (head as Head) : undefined
  } catch {
    return undefined
  }
}

/** A name that every store takes (`[\w.-]+`), another one for every key. */
const itemName = (key: string): string =>
  key.replace(/[^A-Za-z0-9.-]/g, character => `_${character.charCodeAt(0).toString(16)}_`)
