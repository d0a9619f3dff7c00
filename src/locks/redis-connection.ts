import { createHash } from 'node:crypto'
import { abortReason } from '../values/errors.ts'
import { sleep, within } from '../values/timers.ts'
import { createRedisNews, type RedisNews } from './redis-news.ts'

/** What is needed of a client, cluster or sentinel of node-redis (the package `redis`, 4 or later). */
export interface NodeRedisLike {
  evalSha(sha: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>
  duplicate(): unknown
  on(event: string, listener: () => void): unknown
  readonly isOpen?: boolean
  readonly isReady?: boolean
}

/** What is needed of a client or cluster of ioredis (5 or later). */
export interface IoRedisLike {
  evalsha(sha: string, keyCount: number, ...keysAndArguments: string[]): Promise<unknown>
  eval(script: string, keyCount: number, ...keysAndArguments: string[]): Promise<unknown>
  duplicate(): unknown
  on(event: string, listener: () => void): unknown
  readonly status?: string
}

export type RedisLike = NodeRedisLike | IoRedisLike

export const isNodeRedis = (client: RedisLike): client is NodeRedisLike =>
  typeof (client as NodeRedisLike).evalSha === 'function'

/** A Lua script on keys of one hash tag. `ARGV[1]` is `1` after the connection was lost: it may have run before, which must not matter, and Redis may have restarted. */
export interface RedisScript {
  readonly text: string
  readonly sha: string
}

export const redisScript = (text: string): RedisScript => ({
  text,
  sha: createHash('sha1').update(text).digest('hex'),
})

/** Redis answered, and will not answer otherwise: no permission, a key of another kind. */
export class RedisRefusal extends Error {}

interface RunOptions {
  /** How long it is tried, over lost connections and restarts. */
  readonly boundMs: number
  readonly signal?: AbortSignal | undefined
  /** The answer to a command that was given up: clients deliver from their queues long after. */
  readonly onLate?: (reply: unknown) => void
}

export interface RedisConnection {
  /** Runs a script, again where the connection was lost. Rejects within the bound; its errors hold no arguments. */
  run(script: RedisScript, keys: readonly string[], args: readonly string[], options: RunOptions): Promise<unknown>
  readonly news: RedisNews
  /** When the connection was last lost, by the monotonic clock: since then Redis may have restarted. ioredis sends again what was under way, unasked. */
  readonly brokenAtMs: number
}

const connections = new WeakMap<RedisLike, RedisConnection>()

const retryMs = 50

/** Answers of a server that starts, fails over or is busy: the same command may work in a moment. */
const passing = /^(?:LOADING|BUSY|CLUSTERDOWN|MASTERDOWN|TRYAGAIN|READONLY) /
const reply = /^[A-Z]{2,} /

/** One per client: all its sessions share one subscriber. */
export function connectionOf(client: RedisLike): RedisConnection {
  const known = connections.get(client)
  if (known) return known

  let hasAnswered = false
  let brokenAtMs = Number.NEGATIVE_INFINITY
  const onBreak = () => {
    if (hasAnswered) brokenAtMs = performance.now()
  }
  for (const event of ['close', 'reconnecting', 'node-reconnecting']) client.on(event, onBreak)

  async function send(
    { text, sha }: RedisScript,
    keys: readonly string[],
    args: string[],
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    const evaluate = (by: 'sha' | 'text') => {
      if (isNodeRedis(client)) {
        const options = { keys: [...keys], arguments: args }
        return by === 'sha' ? client.evalSha(sha, options) : client.eval(text, options)
      }
      const { length } = keys
      return by === 'sha' ? client.evalsha(sha, length, ...keys, ...args) : client.eval(text, length, ...keys, ...args)
    }
    try {
      return await evaluate('sha')
    } catch (error) {
      // A restart or SCRIPT FLUSH.
      // What was given up meanwhile must not overtake what came after it.
      if (!messageOf(error).startsWith('NOSCRIPT') || signal?.aborted) throw error
      return evaluate('text')
    }
  }

  const connection: RedisConnection = {
    async run(script, keys, args, { boundMs, signal, onLate }) {
      const untilMs = performance.now() + boundMs
      let trouble = 'it is not connected'
      for (let isAgain = false; ; ) {
        if (signal?.aborted) throw abortReason(signal)
        const leftMs = untilMs - performance.now()
        if (leftMs <= 0) throw new Error(`Redis did not answer within ${boundMs} ms: ${trouble}.`)
        if (isConnecting(client)) {
          // Not into the client's offline queue: what waits there is delivered whether it is still wanted or not.
          isAgain = hasAnswered
          await sleep(Math.min(leftMs, retryMs))
          continue
        }
        const sent = send(script, keys, [isAgain ? '1' : '0', ...args], signal)
        isAgain = true
        const answer = await settle(sent, leftMs, signal)
        if (answer.what === 'given-up') {
          sent.then(onLate, () => undefined)
          trouble = 'it is connected and silent'
          continue
        }
        if (answer.what === 'reply') {
          hasAnswered = true
          return answer.reply
        }
        trouble = messageOf(answer.error)
        // Nothing of the client's error but its text: ioredis hangs the arguments on it, and they hold tokens.
        if (reply.test(trouble) && !passing.test(trouble)) throw new RedisRefusal(`Redis: ${trouble}`)
        await sleep(Math.min(retryMs, Math.max(untilMs - performance.now(), 0)))
      }
    },
    news: createRedisNews(client),
    get brokenAtMs() {
      return brokenAtMs
    },
  }
  connections.set(client, connection)
  return connection
}

type Answer = { what: 'reply'; reply: unknown } | { what: 'error'; error: unknown } | { what: 'given-up' }

async function settle(sent: Promise<unknown>, ms: number, signal: AbortSignal | undefined): Promise<Answer> {
  let stop: (() => void) | undefined
  const left = new Promise<Answer>(resolve => {
    stop = () => resolve({ what: 'given-up' })
    signal?.addEventListener('abort', stop)
  })
  const answered = sent.then(
    (reply): Answer => ({ what: 'reply', reply }),
    (error): Answer => ({ what: 'error', error }),
  )
  try {
    return await within(Promise.race([answered, left]), ms, (): Answer => ({ what: 'given-up' }))
  } finally {
    if (stop) signal?.removeEventListener('abort', stop)
  }
}

/** On the way to a connection. A client that was never started or was closed is asked, and says so itself. */
function isConnecting(client: RedisLike): boolean {
  if (isNodeRedis(client)) return client.isOpen === true && client.isReady === false
  return ['connecting', 'connect', 'reconnecting', 'close', 'disconnecting'].includes(client.status ?? '')
}

const messageOf = (error: unknown) => String((error as Error | undefined)?.message ?? error)
