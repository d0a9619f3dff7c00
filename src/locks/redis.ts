import { randomUUID } from 'node:crypto'
import type { Grip, Lock } from '../ports/lock.ts'
import { abortReason } from '../values/errors.ts'
import { sleep, startTimer } from '../values/timers.ts'
import { memoryLock } from './memory.ts'
import { type RedisConnection, RedisRefusal, redisScript } from './redis-connection.ts'

export interface RedisLockOptions {
  readonly connection: RedisConnection
  /** The key of the lock, and of what it protects. */
  readonly keysOf: (name: string) => readonly [lock: string, record: string]
  readonly channelOf: (name: string) => string
  readonly leaseMs: number
  /** How long one command is tried. */
  readonly boundMs: number
  /** Whether waiting outlasts a Redis that is down, until its signal aborts; else the request rejects. What Redis refuses rejects at once. */
  readonly isPatient: boolean
  /** Resolves when what the last news made others read has arrived. */
  readonly settled: (name: string) => Promise<unknown>
  /** What `news` says about a release. */
  readonly message: (what: 'free' | 'changed-free') => string
}

export interface RedisLock extends Lock {
  /** Whether the lock is held here: then its release tells of the change, once, when there is nothing left to wait for. */
  noteChange(name: string): boolean
}

interface Hold {
  readonly owner: string
  /** When the command was sent that the lease counts from, at the latest. */
  readonly sinceMs: number
  hasChanged: boolean
}

// KEYS[1] the lock, KEYS[2] the record. ARGV: again, owner, lease, steal, and for how many milliseconds a holder may work on whose lock was lost
// with all that Redis held. Answers 0 when it is had, else the milliseconds to wait.
const acquireScript = redisScript(`
if ARGV[4] == '1' or (ARGV[1] == '1' and redis.call('GET', KEYS[1]) == ARGV[2]) then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  return 0
end
if (ARGV[1] == '1' or ARGV[5] ~= '0') and redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then
  return ARGV[5] == '0' and tonumber(ARGV[3]) or tonumber(ARGV[5])
end
if redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[3]) then return 0 end
local left = redis.call('PTTL', KEYS[1])
return left == -1 and tonumber(ARGV[3]) or math.max(left, 1)`)

// ARGV: again, owner, lease. What a restart lost is taken again.
const extendScript = redisScript(`
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`)

// ARGV: again, owner, channel, message, whether the message counts also when the lock was lost.
const releaseScript = redisScript(`
local own = redis.call('GET', KEYS[1]) == ARGV[2]
if own then redis.call('DEL', KEYS[1]) end
if own or ARGV[5] == '1' then redis.pcall('PUBLISH', ARGV[3], ARGV[4]) end
return own and 1 or 0`)

const graceMs = 10

/**
 * A lock among hosts: a key that exists while it is held, with a random owner and a lease that is renewed. Losers wait for news or for
 * the end of the lease. A holder that was silent too long has lost it and is told; what it still writes must be fenced by compare and set.
 */
export function redisLock(options: RedisLockOptions): RedisLock {
  const { connection, keysOf, channelOf, leaseMs, boundMs, message } = options
  // Within the process they queue in memory: one of them asks Redis.
  const local = memoryLock()
  const holds = new Map<string, Hold>()

  async function release(name: string, { owner, hasChanged }: Hold): Promise<void> {
    const text = message(hasChanged ? 'changed-free' : 'free')
    const args = [owner, channelOf(name), text, hasChanged ? '1' : '0']
    try {
      await connection.run(releaseScript, keysOf(name), args, { boundMs })
    } catch {
      // Its lease ends it.
    }
  }

  async function acquire(name: string, signal: AbortSignal | undefined, steal: boolean): Promise<Hold> {
    const channel = channelOf(name)
    const inbox = createInbox()
    // Who need not wait need not subscribe, unless it is for nothing.
    let listening = connection.news.isActive(channel) ? connection.news.listen(channel, inbox) : undefined
    try {
      for (;;) {
        if (signal?.aborted) throw abortReason(signal)
        // An owner a try: whatever becomes of this one later can be told from the next.
        const hold: Hold = { owner: randomUUID(), sinceMs: performance.now(), hasChanged: false }
        // A restart may have lost the lock of a holder that works on: its lease is respected from the break on.
        const { brokenAtMs } = connection
        const careMs = Math.max(Math.ceil(brokenAtMs + leaseMs - performance.now()), 0)
        inbox.clear()
        let leftMs: number
        try {
          const args = [hold.owner, String(leaseMs), steal ? '1' : '0', String(careMs)]
          // Had too late, it is given back.
          const onLate = (reply: unknown) => Number(reply) === 0 && void release(name, hold)
          leftMs = Number(await connection.run(acquireScript, keysOf(name), args, { boundMs, signal, onLate }))
        } catch (error) {
          // It may have arrived without its answer.
          void release(name, hold)
          if (error instanceof RedisRefusal || steal || (!options.isPatient && !signal?.aborted)) throw error
          if (!signal?.aborted) await sleep(graceMs)
          continue
        }
        if (connection.brokenAtMs !== brokenAtMs) {
          // Sent twice by the client, maybe: the first may have had it, and nobody would know. Or had, but of a Redis that has just forgotten
          // who holds it. Given back; once more, with care.
          await release(name, hold)
          continue
        }
        if (leftMs === 0) return hold
        if (!listening) {
          listening = connection.news.listen(channel, inbox)
          if (!listening.isActive) await inbox.active(Math.min(leftMs, leaseMs), signal)
          // What was said before we listened is lost: look again.
          continue
        }
        await inbox.news(leftMs + graceMs * Math.random(), signal)
        if (!inbox.hasChange) continue
        // Most who wait only want what has just been written; who reads it leaves by the signal.
        await options.settled(name)
        await sleep(graceMs * (1 + Math.random()))
      }
    } finally {
      listening?.stop()
    }
  }

  return {
    request: (name, { signal, steal = false }, callback) =>
      local.request(name, { ...(signal && { signal }), steal }, async (grip: Grip) => {
        const lost = new AbortController()
        const loose = () => lost.abort()
        grip.lost?.addEventListener('abort', loose)
        // Robbed while it waits, it leaves as well.
        const leave = AbortSignal.any([lost.signal, ...(signal ? [signal] : [])])
        const hold = await acquire(name, leave, steal)
        if (leave.aborted) {
          await release(name, hold)
          throw abortReason(leave)
        }
        holds.set(name, hold)
        const stopHeart = beat(name, hold, loose)
        try {
          await callback({ lost: lost.signal })
        } finally {
          stopHeart()
          if (holds.get(name) === hold) holds.delete(name)
          await release(name, hold)
        }
      }),
    noteChange(name) {
      const hold = holds.get(name)
      if (hold) hold.hasChanged = true
      return !!hold
    },
  }

  /** Renews the lease. Lost is what somebody else has, and what could not be renewed within the lease. */
  function beat(name: string, { owner, sinceMs }: Hold, onLost: () => void): () => void {
    const beatMs = leaseMs / 3
    const endsIn = (fromMs: number) => startTimer(onLost, fromMs + leaseMs - performance.now())
    let stopEnd = endsIn(sinceMs)
    let isBeating = false
    const stopped = new AbortController()
    const pulse = async () => {
      if (isBeating || stopped.signal.aborted) return
      isBeating = true
      const sentMs = performance.now()
      try {
        const args = [owner, String(leaseMs)]
        // A beat after the release would take the lock for nobody.
        const { signal } = stopped
        const isOurs = Number(await connection.run(extendScript, keysOf(name), args, { boundMs: beatMs, signal })) === 1
        if (signal.aborted) return
        stopEnd()
        if (isOurs) stopEnd = endsIn(sentMs)
        else onLost()
      } catch {
        // The end of the lease decides.
      } finally {
        isBeating = false
      }
    }
    const heart = setInterval(pulse, beatMs)
    heart.unref()
    // After a break at once: a restart may have lost the lock.
    const channel = channelOf(name)
    const listening = connection.news.isActive(channel)
      ? connection.news.listen(channel, { onMessage: () => undefined, onActive: pulse })
      : undefined
    return () => {
      clearInterval(heart)
      listening?.stop()
      stopped.abort()
      stopEnd()
    }
  }
}

/** Where one who waits hears of news, also of such as came while he was not waiting. */
function createInbox() {
  let isActive = false
  let wake: (() => void) | undefined
  let isRung = false
  let hasChange = false

  function wait(isOver: () => boolean, ms: number, signal: AbortSignal | undefined): Promise<void> {
    if (isOver() || signal?.aborted) return Promise.resolve()
    return new Promise(resolve => {
      const end = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', end)
        wake = undefined
        resolve()
      }
      const timer = setTimeout(end, ms)
      signal?.addEventListener('abort', end)
      wake = () => isOver() && end()
    })
  }

  return {
    onMessage(message: string) {
      if (!message.endsWith('free')) return
      isRung = true
      hasChange ||= message.includes('changed')
      wake?.()
    },
    onActive() {
      // Again, after a break of the connection: what was said meanwhile is lost.
      isActive = true
      isRung = true
      wake?.()
    },
    get hasChange() {
      return hasChange
    },
    clear() {
      isRung = false
      hasChange = false
    },
    news: (ms: number, signal: AbortSignal | undefined) => wait(() => isRung, ms, signal),
    active: (ms: number, signal: AbortSignal | undefined) => wait(() => isActive, ms, signal),
  }
}
