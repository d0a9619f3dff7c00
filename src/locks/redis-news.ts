import { callSafely } from '../values/events.ts'
import { startTimer } from '../values/timers.ts'

/** What a duplicate of either client does for us. */
interface Subscriber {
  on(event: string, listener: (...args: never[]) => void): unknown
  subscribe(channel: string, listener?: (message: string) => void): Promise<unknown>
  unsubscribe(channel: string): Promise<unknown>
  connect?(): Promise<unknown>
  destroy?(): unknown
  disconnect(): unknown
  unref?(): void
  readonly status?: string
  readonly stream?: { unref?(): void }
}

export interface NewsListener {
  onMessage(message: string): void
  /** Subscribed, for the first time or again: something may have been missed before. */
  onActive?(): unknown
}

export interface Listening {
  /** Subscribed as far as is known: news arrive. */
  readonly isActive: boolean
  stop(): void
}

/** Pub/sub on one connection per client, made with the first listener, closed with the last; it does not keep a process alive. */
export interface RedisNews {
  listen(channel: string, listener: NewsListener): Listening
  /** Whether somebody listens there already and is subscribed: one more costs nothing. */
  isActive(channel: string): boolean
}

interface Channel {
  readonly listeners: Set<NewsListener>
  isActive: boolean
}

const reopenMs = 1000

export function createRedisNews(client: {
  duplicate(): unknown
  on(event: string, listener: () => void): unknown
}): RedisNews {
  const channels = new Map<string, Channel>()
  let subscriber: Subscriber | undefined

  function deliver(name: string, message: string): void {
    for (const listener of [...(channels.get(name)?.listeners ?? [])]) {
      callSafely(listener.onMessage, message)
    }
  }

  // One function a channel: node-redis keeps a set of them.
  const handlers = new Map<string, (message: string) => void>()
  const handlerOf = (name: string) => {
    const handler = handlers.get(name) ?? ((message: string) => deliver(name, message))
    handlers.set(name, handler)
    return handler
  }

  async function join(own: Subscriber, name: string): Promise<void> {
    try {
      // ioredis takes no listener here: it would take one for a callback.
      await (isIoRedis(own) ? own.subscribe(name) : own.subscribe(name, handlerOf(name)))
    } catch {
      // Cut off: at the next `ready` again.
      return
    }
    unref(own)
    const channel = channels.get(name)
    if (own !== subscriber || !channel || channel.isActive) return
    channel.isActive = true
    for (const listener of [...channel.listeners]) callSafely(() => listener.onActive?.(), undefined)
  }

  function open(): Subscriber {
    const own = client.duplicate() as Subscriber
    const all = () => {
      if (own !== subscriber) return close(own)
      unref(own)
      for (const name of channels.keys()) void join(own, name)
    }
    const pause = () => {
      if (own === subscriber) for (const channel of channels.values()) channel.isActive = false
    }
    // Its troubles show as news that don't come; without a listener they would end the process.
    own.on('error', () => undefined)
    for (const event of ['close', 'reconnecting']) own.on(event, pause)
    for (const event of ['ready', 'node-ready']) own.on(event, all)
    own.on('end', () => {
      pause()
      if (own !== subscriber) return
      subscriber = undefined
      startTimer(reopen, reopenMs)
    })
    if (isIoRedis(own)) {
      own.on('connect', () => unref(own))
      own.on('message', (name: string, message: string) => deliver(name, message))
      if (own.status === 'wait') own.connect?.().catch(() => undefined)
    } else {
      unref(own)
      // A cluster says nothing when it is ready.
      own.connect?.().then(all, () => {
        if (own !== subscriber) return
        subscriber = undefined
        startTimer(reopen, reopenMs)
      })
    }
    return own
  }

  const reopen = () => {
    if (channels.size) subscriber ??= open()
  }

  // Who closes the client is done with it; who connects it again goes on.
  client.on('end', () => {
    const own = subscriber
    subscriber = undefined
    for (const channel of channels.values()) channel.isActive = false
    if (own) close(own)
  })
  client.on('ready', reopen)

  return {
    isActive: name => channels.get(name)?.isActive === true,
    listen(name, listener) {
      const channel = channels.get(name) ?? { listeners: new Set(), isActive: false }
      channel.listeners.add(listener)
      if (!channels.has(name)) {
        channels.set(name, channel)
        if (subscriber) void join(subscriber, name)
        else subscriber = open()
      }
      return {
        get isActive() {
          return channel.isActive
        },
        stop() {
          if (!channel.listeners.delete(listener) || channel.listeners.size) return
          channels.delete(name)
          handlers.delete(name)
          if (!subscriber) return
          if (channels.size) {
            subscriber.unsubscribe(name).catch(() => undefined)
            return
          }
          const last = subscriber
          subscriber = undefined
          close(last)
        },
      }
    },
  }
}

const isIoRedis = (subscriber: Subscriber) => typeof subscriber.status === 'string'

function close(subscriber: Subscriber): void {
  try {
    if (typeof subscriber.destroy === 'function') subscriber.destroy()
    else Promise.resolve(subscriber.disconnect()).catch(() => undefined)
  } catch {
    // Not open any more, or not yet: `ready` comes back here.
  }
}

interface Part {
  unref?(): void
  readonly stream?: { unref?(): void }
  readonly client?: unknown
}

/** Each client has its own way to the sockets, a cluster has several of them. Best effort: a socket that holds the process is closed with the last watcher. */
function unref(subscriber: Subscriber): void {
  const cluster = subscriber as unknown as {
    masters?: Part[]
    replicas?: Part[]
    pubSubNode?: Part
    nodes?(): Part[]
    subscriber?: { getInstance?(): Part | null }
  }
  const parts: (Part | null | undefined)[] = [subscriber]
  try {
    if (typeof cluster.nodes === 'function') parts.push(...cluster.nodes(), cluster.subscriber?.getInstance?.())
    for (const node of [...(cluster.masters ?? []), ...(cluster.replicas ?? []), cluster.pubSubNode]) {
      Promise.resolve(node?.client).then(
        part => (part as Part | undefined)?.unref?.(),
        () => undefined,
      )
    }
    for (const part of parts) {
      part?.unref?.()
      part?.stream?.unref?.()
    }
  } catch {
    // Not connected yet.
  }
}
