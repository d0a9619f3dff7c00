import type { Channel } from '../ports/channel.ts'
import type { StorageScope } from '../ports/token-storage.ts'
import { isRecord, type LiveRecord, type StoredRecord } from '../values/record.ts'
import type { TokenManager } from './token-manager.ts'

/**
 * What contexts say to each other. News carries no token: the others read the storage. Only an `answer` holds a record;
 * it goes to a context that named the same sign-in id, which nobody knows who does not hold its tokens.
 */
interface Message {
  readonly from: string
  readonly id: string
  readonly generation: number
  readonly what: 'hello' | 'ask' | 'changed' | 'signed-out' | 'answer'
  readonly to?: string | undefined
  readonly record?: StoredRecord | undefined
}

export interface Contexts {
  /** The record changed: everybody may read it. */
  tell(what: 'changed' | 'signed-out', record: StoredRecord): void
  /** Asks whether somebody holds a newer record of the same sign-in; resolves when one answered, at the latest after `askMs`. */
  ask(): Promise<void>
  /** A clone of a tab holds the same sign-in without sharing its storage: it says so, and is told from then on. */
  hello(): void
  /** A higher generation than the held one was announced, but the storage did not have it. */
  readonly isBehind: boolean
  /** Newest tokens that no storage has were given to another context. */
  readonly hasHandedOver: boolean
  close(): void
}

interface ContextsOptions {
  readonly self: string
  readonly channel: Channel | undefined
  readonly scope: StorageScope
  readonly manager: TokenManager
  readonly identity: {
    /** The storage may hold something newer. */
    read(isNews: boolean): unknown
    /** Another context handed over its record. */
    receive(record: LiveRecord): void
  }
  degrade(what: 'channel'): void
}

const askMs = 100

/** There is nobody else. */
const alone: Contexts = {
  tell() {},
  async ask() {},
  hello() {},
  isBehind: false,
  hasHandedOver: false,
  close() {},
}

export function createContexts(options: ContextsOptions): Contexts {
  const { self, channel, manager } = options
  if (!channel) return alone
  const isTab = options.scope === 'tab'
  const clones = new Set<string>()
  let announced = 0
  let handedOver: string | undefined
  let answered: (() => void) | undefined

  /** To all, or to one; with the record only where it may have it. */
  const say = (
    what: Message['what'],
    { id, generation }: { id: string; generation: number },
    to?: string,
    record?: StoredRecord,
  ): void => {
    try {
      channel.postMessage({ from: self, to, what, id, generation, record } satisfies Message)
    } catch {
      options.degrade('channel')
    }
  }

  function answer(to: string): void {
    const record = manager.held?.record
    if (!record) return
    if (manager.held?.unsaved) handedOver = record.tokens.accessToken
    say('answer', record, to, record)
  }

  function receive({ data }: { data: unknown }): void {
    const message = data as Message | null
    if (typeof message !== 'object' || !message || message.from === self || (message.to && message.to !== self)) return
    const { what, id, generation } = message
    const mine = manager.held?.record
    const isMine = !!mine && mine.id === id
    if (what === 'hello' || what === 'ask') {
      if (!isMine) {
        if (manager.isSignedOut(id)) say('signed-out', { id, generation: manager.seen }, message.from)
        return
      }
      if (isTab && !clones.has(message.from)) {
        clones.add(message.from)
        if (what === 'hello') say('hello', mine, message.from)
      }
      if (mine.generation > generation) answer(message.from)
      return
    }
    if (what === 'answer') {
      if (isMine && isRecord(message.record) && message.record.id === id && 'tokens' in message.record) {
        options.identity.receive(message.record)
        if ((manager.held?.record.generation ?? 0) >= announced) answered?.()
      }
      return
    }
    if (what === 'signed-out' && isMine) {
      // No need to read: a signed-out id is absorbing. The tombstone may be in another tab's storage only.
      manager.meet({ v: 1, id, generation, signedOut: true })
    }
    // As high as ours, of another sign-in: one was written over the other, and what is stored counts.
    const isNewer = isMine ? generation > mine.generation : generation >= (mine?.generation ?? 1)
    if (Number.isSafeInteger(generation) && isNewer) {
      if (isMine) announced = Math.max(announced, generation)
      // Tabs with a storage of their own learn nothing from other sign-ins.
      if (!isTab || isMine) void options.identity.read(true)
    }
  }

  try {
    channel.addEventListener('message', receive)
  } catch {
    options.degrade('channel')
  }

  return {
    tell(what, record) {
      say(what, record)
      if (what === 'changed') for (const clone of clones) answer(clone)
    },
    ask() {
      const mine = manager.held?.record
      if (!mine) return Promise.resolve()
      return new Promise(resolve => {
        const timer = setTimeout(resolve, askMs)
        answered = () => {
          clearTimeout(timer)
          resolve()
        }
        say('ask', mine)
      })
    },
    hello() {
      const mine = manager.held?.record
      if (isTab && mine) say('hello', mine)
    },
    get isBehind() {
      return announced > (manager.held?.record.generation ?? 0)
    },
    get hasHandedOver() {
      return handedOver !== undefined && handedOver === manager.held?.record.tokens.accessToken
    },
    close() {
      channel.removeEventListener('message', receive)
      channel.close()
    },
  }
}
