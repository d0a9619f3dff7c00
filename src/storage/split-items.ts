import { createHash } from 'node:crypto'
import type { TokenStorage } from '../ports/token-storage.ts'

interface Items {
  getItem(name: string): Promise<string | null | undefined>
  setItem(name: string, value: string): Promise<unknown>
  /** Removing nothing is no error. */
  removeItem(name: string): Promise<unknown>
  /** Characters that one item can take. */
  readonly longest: number
  /** One writer of a key at a time. */
  exclusively(key: string, run: () => Promise<void>): Promise<unknown>
}

/** The head of a value in parts: which of two places they are in, how many, and what they must add up to. */
interface Head {
  readonly place: 'a' | 'b'
  readonly count: number
  readonly digest: string
}

const whole = 'latchkey='
const parted = 'latchkey+'
const mostReads = 5

/**
 * Values of any size over items that have a limit. A long one is written in parts beside the old one, then its head is swapped in one step: a kill at
 * any instant leaves the old value or the new one, and what it left over is overwritten by the next.
 */
export function splitItems(
  items: Items,
): Required<Pick<TokenStorage, 'getItem' | 'setItem' | 'removeItem' | 'replaceItem'>> {
  const partOf = (key: string, place: string, index: number) => `${key}#${place}${index}`

  async function readHead(key: string): Promise<string | Head | undefined> {
    const text = await items.getItem(key)
    if (text === null || text === undefined) return undefined
    if (text.startsWith(whole)) return text.slice(whole.length)
    const [place, count, digest] = text.startsWith(parted) ? text.slice(parted.length).split('.') : []
    if ((place === 'a' || place === 'b') && Number(count) > 0 && digest) return { place, count: Number(count), digest }
    throw corrupt()
  }

  async function read(key: string): Promise<string | undefined> {
    for (let reads = 0; reads < mostReads; reads++) {
      const head = await readHead(key)
      if (typeof head !== 'object') return head
      const parts = await Promise.all(
        Array.from({ length: head.count }, (_, index) => items.getItem(partOf(key, head.place, index))),
      )
      const text = parts.join('')
      // Else somebody swapped the head while we read: again.
      if (digestOf(text) === head.digest) return text
    }
    throw corrupt()
  }

  async function write(key: string, value: string | undefined): Promise<void> {
    const old = await readHead(key).catch(error => {
      // What is damaged may be written over; what can't be read now may be whole.
      if (error?.code !== 'storage_corrupt') throw error
    })
    const before = typeof old === 'object' ? old : undefined
    if (value === undefined) await items.removeItem(key)
    else if (whole.length + value.length <= items.longest) await items.setItem(key, whole + value)
    else {
      const place = before?.place === 'a' ? 'b' : 'a'
      let count = 0
      for (let start = 0; start < value.length; count++) {
        const part = value.slice(start, endOf(value, start + items.longest))
        await items.setItem(partOf(key, place, count), part)
        start += part.length
      }
      await items.setItem(key, `${parted}${place}.${count}.${digestOf(value)}`)
    }
    for (let index = 0; before && index < before.count; index++) {
      await items.removeItem(partOf(key, before.place, index))
    }
  }

  return {
    getItem: read,
    setItem: (key, value) => items.exclusively(key, () => write(key, value)),
    removeItem: key => items.exclusively(key, () => write(key, undefined)),
    async replaceItem(key, expected, value) {
      let isDone = false
      await items.exclusively(key, async () => {
        if ((await read(key)) !== expected) return
        await write(key, value)
        isDone = true
      })
      return isDone
    },
  }
}

/** Not inside of a surrogate pair: half of one does not survive the way through UTF-8. */
const endOf = (text: string, end: number) => (/[\uD800-\uDBFF]/.test(text.charAt(end - 1)) ? end - 1 : end)

const digestOf = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 32)

const corrupt = () =>
  Object.assign(new Error('The keyring holds no value of Latchkey under this name.'), { code: 'storage_corrupt' })
