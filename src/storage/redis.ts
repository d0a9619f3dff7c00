import { createHash, randomUUID } from 'node:crypto'
import { redisLock } from '../locks/redis.ts'
import { connectionOf, type RedisLike, redisScript } from '../locks/redis-connection.ts'
import type { TokenStorage } from '../ports/token-storage.ts'
import { SessionError } from '../values/errors.ts'
import { openToMemory } from './open-to-memory.ts'
import { setAnchor } from './web.ts'

export interface RedisStorageOptions {
  /** Before every key and channel; a name of its own for each service or pool that must not share sessions. @default 'latchkey:' */
  prefix?: string
  /**
   * How long a record is kept after its last write, in milliseconds, 1 or more: the life of the refresh token. A record that is gone signs
   * new processes out; who has it in memory writes it again. @default for ever
   */
  ttlMs?: number
  /**
   * How long a lock holder may be silent before another takes its place, in milliseconds, 1 or more. It is renewed while the lock is held,
   * so it need not be longer than a renewal: it is what the others wait when a holder was killed. @default 10_000
   */
  leaseMs?: number
  /**
   * While Redis is down: `'reject'` renewals and first reads (`storage_unavailable`, `lock_timeout`, both retryable, within the session's
   * bounds; a token at hand works on), or go on after a second in the `'memory'` of each process, with a `degraded` event for `storage` and
   * `lock`, and write back by compare and set once Redis answers again. Memory is for sessions without a rotating refresh token: processes
   * that each renew for themselves spend the same one. @default 'reject'
   */
  whenDown?: 'reject' | 'memory'
}

// All: KEYS[1] the record, ARGV[1] whether it may have run before.
const readScript = redisScript(`return redis.call('GET', KEYS[1])`)

// ARGV: again, whether something is expected, what, whether to write or remove, what, TTL or 0, channel, message or ''.
const replaceScript = redisScript(`
local now = redis.call('GET', KEYS[1])
local writes = ARGV[4] == '1'
if ARGV[1] == '1' and ((writes and now == ARGV[5]) or (not writes and not now)) then return 1 end
if ARGV[2] == '1' then
  if now ~= ARGV[3] then return 0 end
elseif now then return 0 end
if not writes then redis.call('DEL', KEYS[1])
elseif ARGV[6] ~= '0' then redis.call('SET', KEYS[1], ARGV[5], 'PX', ARGV[6])
else redis.call('SET', KEYS[1], ARGV[5]) end
if ARGV[8] ~= '' then redis.pcall('PUBLISH', ARGV[7], ARGV[8]) end
return 1`)

/** Below the session's own `storageTimeoutMs`, so that its error says what is wrong. */
const boundMs = 4500
const memoryBoundMs = 1000
const mostConflicts = 20

const anchors = new WeakMap<object, Map<string, object>>()

/**
 * Redis or Valkey, alone or as a cluster, for services of many processes: brings the lock among them, tells them of changes, and writes by
 * compare and set only. Keys and channels hold a hash and no name. A read or write rejects within 4.5 s while Redis is down or silent, and
 * is tried again meanwhile; nothing has to be restarted. What Redis refuses (`NOPERM`, `WRONGTYPE`) is `storage_unavailable` at once.
 * @param client A connected client, cluster or sentinel of node-redis (4 or later) or ioredis (5 or later). It stays yours: Latchkey opens one
 *   connection beside it, for news, and closes that with the last session. It is not in a transaction or in subscriber mode.
 * @throws SessionError `misconfigured` for what is no such client, and for options that are none of the above
 */
export function redisStorage(
  client: RedisLike,
  { prefix = 'latchkey:', ttlMs, leaseMs = 10_000, whenDown = 'reject' }: RedisStorageOptions = {},
): TokenStorage {
  if (typeof (client as RedisLike | undefined)?.eval !== 'function') {
    throw new SessionError('misconfigured', 'Pass a client of node-redis or ioredis: redisStorage(client).')
  }
  for (const [name, ms] of Object.entries({ leaseMs, ttlMs })) {
    if (ms !== undefined && !(Number.isFinite(ms) && ms >= 1)) {
      throw new SessionError('misconfigured', `${name} is ${ms}. Give it in milliseconds, or leave it out.`)
    }
  }
  if (whenDown !== 'reject' && whenDown !== 'memory') {
    throw new SessionError('misconfigured', `whenDown is ${String(whenDown)}. Write 'reject' or 'memory'.`)
  }
  const self = randomUUID()
  const connection = connectionOf(client)
  const bound = { boundMs: whenDown === 'memory' ? memoryBoundMs : boundMs }
  const ttl = String(ttlMs === undefined ? 0 : Math.round(ttlMs))
  // One hash tag per session: all of it lies on one node of a cluster.
  const keyOf = (key: string) => `${prefix}{${createHash('sha256').update(key).digest('hex').slice(0, 32)}}`
  const channelOf = (key: string) => `${keyOf(key)}:news`
  const messageOf = (what: string) => `${self} ${what}`

  /** What each watched key was seen to hold, so that a break in the news can be closed. */
  const watched = new Map<string, { count: number; seen?: { text: string | undefined } }>()
  const reads = new Map<string, Promise<string | undefined>>()

  function note(key: string, text: string | undefined): void {
    const watch = watched.get(key)
    if (watch) watch.seen = { text }
  }

  /** Reads of one tick are one. */
  function read(key: string): Promise<string | undefined> {
    const joined = reads.get(key)
    if (joined) return joined
    const reading = connection.run(readScript, [keyOf(key)], [], bound).then(reply => {
      const text = reply === null || reply === undefined ? undefined : String(reply)
      note(key, text)
      return text
    })
    reads.set(key, reading)
    queueMicrotask(() => reads.delete(key))
    const open = opened.get(key) ?? new Set()
    opened.set(key, open.add(reading))
    const done = () => {
      open.delete(reading)
      if (!open.size && opened.get(key) === open) opened.delete(key)
    }
    reading.then(done, done)
    return reading
  }
  const opened = new Map<string, Set<Promise<unknown>>>()

  async function replace(key: string, expected: string | undefined, value: string | undefined): Promise<boolean> {
    // What is written under the lock is told with its release.
    const message = lock.noteChange(key) ? '' : messageOf('changed')
    const args = [
      ...(expected === undefined ? ['0', ''] : ['1', expected]),
      ...(value === undefined ? ['0', ''] : ['1', value]),
      ttl,
      channelOf(key),
      message,
    ]
    const isDone = Number(await connection.run(replaceScript, [keyOf(key)], args, bound)) === 1
    if (isDone) note(key, value)
    return isDone
  }

  /** A write without a comparison of its own compares too: delivered late, it must not land on top of something newer. */
  async function overwrite(key: string, value: string | undefined): Promise<void> {
    for (let conflicts = 0; conflicts < mostConflicts; conflicts++) {
      const stored = await read(key)
      if (stored === undefined && value === undefined) return
      if (await replace(key, stored, value)) return
    }
    throw new Error('The record changed at every try to write it.')
  }

  const lock = redisLock({
    connection,
    keysOf: name => [`${keyOf(name)}:lock`, keyOf(name)],
    channelOf,
    leaseMs,
    ...bound,
    isPatient: whenDown !== 'memory',
    settled: name => Promise.allSettled([...(opened.get(name) ?? [])]),
    message: messageOf,
  })

  const storage: TokenStorage = {
    scope: 'shared',
    getItem: read,
    setItem: (key, value) => overwrite(key, value),
    removeItem: key => overwrite(key, undefined),
    replaceItem: replace,
    watch(key, listener) {
      const watch = watched.get(key) ?? { count: 0 }
      watched.set(key, watch)
      watch.count++
      const listening = connection.news.listen(channelOf(key), {
        onMessage(message) {
          const [from, what = ''] = message.split(' ')
          if (from !== self && what.startsWith('changed')) listener()
        },
        // Only what was read before can have changed unheard. What is gone is no news: a restart loses it, a sign-out leaves its mark.
        async onActive() {
          const { seen } = watch
          if (!seen) return
          const text = await read(key).catch(() => undefined)
          if (text !== undefined && text !== seen.text && isOn) listener()
        },
      })
      let isOn = true
      return () => {
        if (!isOn) return
        isOn = false
        listening.stop()
        if (--watch.count === 0) watched.delete(key)
      }
    },
    lock,
  }
  const probe = () => connection.run(readScript, [keyOf('')], [], bound)
  const result = whenDown === 'memory' ? openToMemory(storage, probe) : storage
  const places = anchors.get(client) ?? new Map<string, object>()
  anchors.set(client, places)
  const place = places.get(prefix) ?? {}
  places.set(prefix, place)
  setAnchor(result, () => place)
  return result
}
