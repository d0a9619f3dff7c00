import { vi } from 'vitest'
import {
  createSession,
  type GrantFunction,
  type Session,
  type SessionOptions,
  type TokenStorage,
} from '../../src/index.ts'
import type { createWorld } from '../engine/contexts-fakes.ts'
import { api } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

export { createNetwork, createWorld, deferred, settle } from '../engine/contexts-fakes.ts'

type World = ReturnType<typeof createWorld>

/** What became of a call, so that a rejection waits until somebody looks. */
export function caught(call: Promise<unknown>): Promise<{ value?: unknown; error?: unknown }> {
  return call.then(
    value => ({ value }),
    error => ({ error }),
  )
}

/** Time passes for the timers and for the session's clock alike. */
export async function pass(clock: { advance(ms: number): void }, ms: number, stepMs = 1000): Promise<void> {
  for (let rest = ms; rest > 0; rest -= stepMs) {
    clock.advance(Math.min(rest, stepMs))
    await vi.advanceTimersByTimeAsync(Math.min(rest, stepMs))
  }
}

/** What happened to a session, in order. */
export function recordEvents(session: Session): string[] {
  const events: string[] = []
  session.on('signed-in', () => events.push('signed-in'))
  session.on('signed-out', ({ reason }) => events.push(`signed-out ${reason}`))
  session.on('renewed', ({ how }) => events.push(how))
  session.on('degraded', ({ what }) => events.push(`degraded ${what}`))
  session.on('storage-failed', () => events.push('storage-failed'))
  session.on('renewal-failed', ({ error }) => events.push(`renewal-failed ${error.code}`))
  return events
}

/** A context of the world, with a view of the storage of its own, that may lack what its platform does not have. */
export function createRealm(
  world: World,
  { without = [], ...options }: Partial<SessionOptions<never>> & { without?: readonly ('lock' | 'channel')[] } = {},
) {
  const channel = world.network.join()
  const session = createSession<never>({
    resources: api,
    name: 'test',
    grant: world.grant,
    clock: world.clock,
    storage: world.storage(),
    fetch: world.server.fetch,
    ...(!without.includes('lock') && { lock: world.lock }),
    ...(!without.includes('channel') && { channel }),
    ...options,
  })
  return { session, channel, events: recordEvents(session) }
}

/** As IndexedDB and AsyncStorage are: each call takes some turns, and others run in between. */
export function asyncStorage(items: Map<string, string>, canCompare = false): TokenStorage {
  const later = async <T>(act: () => T) => {
    for (let turn = 0; turn < 3; turn++) await undefined
    return act()
  }
  const replace = (key: string, expected: string | undefined, value: string) => {
    const isSame = items.get(key) === expected
    if (isSame) items.set(key, value)
    return isSame
  }
  return {
    scope: 'shared',
    getItem: key => later(() => items.get(key)),
    setItem: (key, value) => later(() => void items.set(key, value)),
    removeItem: key => later(() => void items.delete(key)),
    ...(canCompare && { replaceItem: (...args: Parameters<typeof replace>) => later(() => replace(...args)) }),
  }
}

/**
 * A server whose refresh tokens work once, and which gives the same successor again within `graceMs` of their first use, as a reuse window
 * does. A reuse later than that is refused and revokes nothing.
 */
export function createGraceServer({ now }: { now(): number }, graceMs = 0) {
  const stats = { tokenCalls: 0, rotations: 0, refusals: 0 }
  const successors = new Map<string, { usedAtMs: number; number: number }>()
  let count = 1
  const answer = (number: number) => ({
    access_token: secret(`access-${number}`),
    refresh_token: secret(`refresh-${number}`),
    expires_in: 300,
  })

  function rotate(refresh = '') {
    stats.tokenCalls++
    const known = successors.get(refresh)
    if (known && now() - known.usedAtMs < graceMs) return answer(known.number)
    if (refresh !== secret(`refresh-${count}`)) {
      stats.refusals++
      throw Response.json({ error: 'invalid_grant' }, { status: 400 })
    }
    stats.rotations++
    successors.set(refresh, { usedAtMs: now(), number: ++count })
    return answer(count)
  }

  const grant: GrantFunction = async ({ refreshToken }) => {
    await Promise.resolve()
    return rotate(refreshToken)
  }
  const fetch = (async (_input: unknown, init?: RequestInit) => {
    const isGood = new Headers(init?.headers).get('authorization') === `Bearer ${secret(`access-${count}`)}`
    return new Response(null, { status: isGood ? 200 : 401 })
  }) as typeof globalThis.fetch
  return { stats, rotate, grant, fetch, first: () => answer(1) }
}
