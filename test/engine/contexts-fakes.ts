import { deserialize, serialize } from 'node:v8'
import {
  createSession,
  type Grant,
  type GrantFunction,
  type Lock,
  type SessionOptions,
  type TokenStorage,
} from '../../src/index.ts'
import { memoryLock } from '../../src/locks/memory.ts'
import { createClock, createStrictServer } from '../servers/strict-authorization-server.ts'

type Listener = (event: { data: unknown }) => void

// As structuredClone, which the globals of React Native lack.
const clone = (value: unknown): unknown => deserialize(serialize(value))

/** A channel between contexts of one test, which can be held back as a frozen page's is. */
export function createNetwork() {
  const ports = new Set<{ listeners: Set<Listener>; isFrozen: boolean; queue: unknown[] }>()
  const messages: { what?: string; record?: unknown }[] = []
  return {
    messages,
    join() {
      const port = { listeners: new Set<Listener>(), isFrozen: false, queue: [] as unknown[] }
      ports.add(port)
      return {
        postMessage(data: unknown) {
          const copy = clone(data)
          messages.push(copy as { what?: string })
          for (const other of ports) {
            if (other === port) continue
            if (other.isFrozen) other.queue.push(copy)
            else queueMicrotask(() => other.listeners.forEach(listener => void listener({ data: clone(copy) })))
          }
        },
        addEventListener: (_type: 'message', listener: Listener) => void port.listeners.add(listener),
        removeEventListener: (_type: 'message', listener: Listener) => void port.listeners.delete(listener),
        close: () => void ports.delete(port),
        freeze() {
          port.isFrozen = true
        },
        resume() {
          port.isFrozen = false
          for (const data of port.queue.splice(0)) for (const listener of port.listeners) listener({ data })
        },
      }
    },
  }
}

/** What contexts of one origin share: the items, the lock, the channel, the server, the time. */
export function createWorld({ lifetimeSeconds = 300 } = {}) {
  const clock = createClock()
  const server = createStrictServer({ clock, lifetimeSeconds })
  const items = new Map<string, string>()
  const network = createNetwork()
  const lock: Lock = memoryLock()
  const spent: string[] = []
  const revoked: string[] = []

  const grant: Grant<void> & { renew: GrantFunction } = {
    async renew({ refreshToken = '' }) {
      spent.push(refreshToken)
      await Promise.resolve()
      const tokens = server.rotate(refreshToken)
      if (!tokens) throw Response.json({ error: 'invalid_grant' }, { status: 400 })
      return tokens
    },
    async revoke(tokens) {
      revoked.push(tokens.refreshToken ?? tokens.accessToken)
    },
  }

  /** One view of the items, as a tab has it. */
  function storage(own: Map<string, string> = items, more: Partial<TokenStorage> = {}): TokenStorage {
    return {
      scope: 'shared',
      getItem: key => own.get(key),
      setItem: (key, value) => void own.set(key, value),
      removeItem: key => void own.delete(key),
      ...more,
    }
  }

  function context(options: Partial<SessionOptions<void>> = {}) {
    const channel = network.join()
    const session = createSession<void>({
      resources: 'https://api.example.com',
      name: 'test',
      grant,
      clock,
      lock,
      channel,
      storage: storage(),
      fetch: server.fetch,
      ...options,
    })
    const events: string[] = []
    session.on('signed-in', () => events.push('signed-in'))
    session.on('signed-out', ({ reason }) => events.push(`signed-out ${reason}`))
    session.on('renewed', ({ how }) => events.push(how))
    session.on('degraded', ({ what }) => events.push(`degraded ${what}`))
    session.on('storage-failed', () => events.push('storage-failed'))
    session.on('renewal-failed', ({ error }) => events.push(`renewal-failed ${error.code}`))
    return { session, channel, events }
  }

  const key = 'latchkey:test'
  return { clock, server, items, key, network, lock, spent, revoked, grant, storage, context }
}

/** Lets everything that needs no timer happen. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 200; turn++) await undefined
}

/** A promise and its ends. */
export function deferred<T = void>() {
  let resolve!: (value: T) => void
  let reject!: (reason: unknown) => void
  const promise = new Promise<T>((...ends) => {
    ;[resolve, reject] = ends
  })
  return { promise, resolve, reject }
}
