import { describe, expect, it, vi } from 'vitest'
import { memoryStorage } from '../../src/index.ts'
import { createSessions } from '../../src/node.ts'
import { secret } from '../support/no-leaks.ts'

const resources = 'https://api.example.com'
const url = `${resources}/me`

/** Each user's access token names the user; the API says whose token it got. */
function createPool(max?: number) {
  const storage = memoryStorage()
  let renewals = 0
  const sessions = createSessions({
    resources,
    storage,
    ...(max !== undefined && { max }),
    grant: async ({ refreshToken = '' }) => {
      renewals++
      await Promise.resolve()
      return { access_token: `${refreshToken}-${renewals}`, refresh_token: refreshToken, expires_in: 1 }
    },
    fetch: (async (_input: unknown, init?: RequestInit) =>
      new Response(new Headers(init?.headers).get('authorization'))) as typeof fetch,
  })
  const signIn = (user: string) =>
    sessions.for(user).adopt({ access_token: secret(user), refresh_token: secret(user), expires_in: 1 })
  return { sessions, signIn, storage, renewals: () => renewals }
}

describe('createSessions', () => {
  it('27: 1,000 users with 1,000 interleaved requests each never get each other’s token, renewals and sign-outs between', async () => {
    const origin = 'https://api.example.com/'
    let nowMs = 1_800_000_000_000
    let crossed = 0
    let renewals = 0
    const answer = new Response('ok')
    const sessions = createSessions({
      resources,
      clock: { now: () => nowMs, monotonic: () => nowMs },
      renewal: { aheadMs: 0 },
      async grant({ refreshToken = '' }) {
        renewals++
        await Promise.resolve()
        return { access_token: `${refreshToken}-${renewals}`, refresh_token: refreshToken, expires_in: 300 }
      },
      // The API: whose token came with the request for whom?
      fetch: (async (input: string, init?: { headers?: Record<string, string> }) => {
        const authorization = init?.headers?.authorization ?? init?.headers?.Authorization ?? ''
        if (!authorization.startsWith(`Bearer ${secret(input.slice(origin.length))}`)) crossed++
        return answer
      }) as unknown as typeof fetch,
    })
    const users = Array.from({ length: 1000 }, (_, index) => `user-${index}-`)
    const signIn = (user: string) =>
      sessions.for(user).adopt({ access_token: secret(user), refresh_token: secret(user), expires_in: 300 })
    await Promise.all(users.map(signIn))
    let refused = 0
    for (let round = 0; round < 1000; round++) {
      // Another order in each round; each hundredth round finds all tokens dead, and somebody leaves and comes back.
      const step = 1 + 2 * (round % 499)
      if (round % 100 === 99) nowMs += 400_000
      const leaver = users[round] as string
      const left = round % 10 === 0 && sessions.for(leaver).signOut()
      await Promise.all(
        users.map((_, index) => {
          const user = users[(index * step + round) % users.length] as string
          return sessions
            .for(user)
            .fetch(origin + user)
            .catch(() => refused++)
        }),
      )
      if (left) await left.then(() => signIn(leaver))
    }
    expect(crossed).toBe(0)
    expect(renewals).toBe(10_000)
    // The leavers' requests, and no others.
    expect(refused).toBe(new Set(users).size / 10)
  }, 60_000)

  it('27: no token crosses where most users are forgotten between their requests, on a storage that takes its time', async () => {
    const items = new Map<string, string>()
    const turn = () => new Promise<void>(resolve => setImmediate(resolve))
    const sessions = createSessions({
      resources,
      max: 50,
      storage: {
        getItem: key => turn().then(() => items.get(key)),
        setItem: (key, value) => turn().then(() => items.set(key, value)),
        removeItem: key => turn().then(() => items.delete(key)),
      },
      grant: async ({ refreshToken = '' }) => ({
        access_token: refreshToken,
        refresh_token: refreshToken,
        expires_in: 1,
      }),
      fetch: (async (_input: unknown, init?: RequestInit) =>
        new Response(new Headers(init?.headers).get('authorization'))) as typeof fetch,
    })
    const users = Array.from({ length: 500 }, (_, index) => `user-${index}-`)
    await Promise.all(
      users.map(user =>
        sessions.for(user).adopt({ access_token: secret(user), refresh_token: secret(user), expires_in: 1 }),
      ),
    )
    for (let round = 0; round < 5; round++) {
      const order = [...users].sort(() => Math.random() - 0.5)
      const answers = await Promise.all(order.map(async user => (await sessions.for(user).fetch(url)).text()))
      expect(answers).toEqual(order.map(user => `Bearer ${secret(user)}`))
    }
  }, 60_000)

  it('gives the same session to the same user, and forgets the least recently used', () => {
    const { sessions } = createPool(2)
    const [alice, bob] = [sessions.for('alice'), sessions.for('bob')]
    expect(sessions.for('alice')).toBe(alice)
    sessions.for('carol')
    expect(sessions.for('alice')).toBe(alice)
    expect(sessions.for('bob')).not.toBe(bob)
  })

  it('forgets without disposing: a held session works on and shares its renewal with its successor', async () => {
    const { sessions, signIn, renewals } = createPool(1)
    await signIn('alice')
    const held = sessions.for('alice')
    sessions.for('bob')
    const successor = sessions.for('alice')
    expect(successor).not.toBe(held)
    await successor.ready
    const before = renewals()
    await Promise.all([held.renew(), successor.renew()])
    expect(renewals()).toBe(before + 1)
    expect((await held.fetch(url)).status).toBe(200)
  })

  it('says what to write for an empty id, and disposed after dispose', () => {
    const { sessions } = createPool()
    expect(() => sessions.for('')).toThrow(expect.objectContaining({ code: 'misconfigured' }))
    const alice = sessions.for('alice')
    sessions.dispose()
    expect(() => sessions.for('alice')).toThrow(expect.objectContaining({ code: 'disposed' }))
    return expect(alice.fetch(url)).rejects.toMatchObject({ code: 'disposed' })
  })

  it('says what to write for what is no id or no number of sessions', () => {
    const { sessions } = createPool()
    for (const id of [undefined, null, 7, {}] as never[])
      expect(() => sessions.for(id)).toThrow(
        expect.objectContaining({ code: 'misconfigured', message: expect.stringContaining('sessions.for(userId)') }),
      )
    expect(() => createPool(0)).toThrow(/max is 0/)
    sessions.dispose()
    expect(() => sessions.for('alice')).toThrow(/Create others/)
    expect(() => sessions.dispose()).not.toThrow()
  })

  it('keeps as many as it was told to, one at least', () => {
    const { sessions } = createPool(1)
    const alice = sessions.for('alice')
    expect(sessions.for('alice')).toBe(alice)
    sessions.for('bob')
    expect(sessions.for('alice')).not.toBe(alice)
  })

  it('gives each user a key and a lock of his own, and opens no channel', async () => {
    const [keys, locks, channels] = [new Set<string>(), new Set<string>(), vi.fn()]
    vi.stubGlobal('BroadcastChannel', channels)
    const items = new Map<string, string>()
    let asked = 0
    const sessions = createSessions({
      resources,
      storage: () => {
        asked++
        return {
          getItem(key) {
            keys.add(key)
            return items.get(key)
          },
          setItem: (key, value) => void items.set(key, value),
          removeItem: key => void items.delete(key),
        }
      },
      lock: {
        request(name, _options, callback) {
          locks.add(name)
          return callback()
        },
      },
      grant: async () => ({ access_token: secret('renewed') }),
    })
    try {
      for (const user of ['alice', 'bob']) {
        await sessions.for(user).adopt({ access_token: secret(user), refresh_token: secret(user) })
        await sessions.for(user).renew()
      }
      expect([...keys].sort()).toEqual(['latchkey:alice', 'latchkey:bob'])
      expect([...locks].sort()).toEqual(['latchkey:alice', 'latchkey:bob'])
      expect(channels).not.toHaveBeenCalled()
      expect(asked).toBe(1) // one storage for all
      sessions.dispose()
    } finally {
      vi.unstubAllGlobals()
    }
  })

  it('takes the platform’s own storage, and signs out for one user alone', async () => {
    vi.stubGlobal('document', { addEventListener() {}, removeEventListener() {} })
    const items = new Map<string, string>()
    const web = {
      [Symbol.toStringTag]: 'Storage',
      getItem: (key: string) => items.get(key) ?? null,
      setItem: (key: string, value: string) => void items.set(key, value),
      removeItem: (key: string) => void items.delete(key),
    } as unknown as Storage
    try {
      const sessions = createSessions({ resources, storage: web, grant: async () => ({ access_token: secret('x') }) })
      for (const user of ['alice', 'bob']) await sessions.for(user).adopt({ access_token: secret(user) })
      expect([...items.keys()]).toEqual(['latchkey:alice', 'latchkey:bob'])
      await sessions.for('alice').signOut()
      expect([sessions.for('alice'), sessions.for('bob')].map(({ state }) => state.status)).toEqual([
        'signed-out',
        'signed-in',
      ])
    } finally {
      vi.unstubAllGlobals()
    }
  })

  it('hears wakes, watchers and ends of the storage for each session that it keeps, and lets them go', async () => {
    const listeners = new Map<string, Set<unknown>>()
    const listen = (what: string, listener: unknown) => {
      const all = listeners.get(what) ?? new Set()
      listeners.set(what, all.add(listener))
      return () => void all.delete(listener)
    }
    const counts = () => Object.fromEntries([...listeners].map(([what, all]) => [what, all.size]))
    const sessions = createSessions({
      resources,
      max: 2,
      storage: {
        ...memoryStorage(),
        watch: (key, listener) => listen(key, listener),
        onDegraded: listener => listen('degraded', listener),
      },
      wake: [listener => listen('wake', listener), listener => listen('other wake', listener)],
      grant: async () => ({ access_token: secret('x') }),
    })
    for (const user of ['alice', 'bob', 'carol']) await sessions.for(user).ready
    expect(counts()).toEqual({
      'latchkey:alice': 0,
      'latchkey:bob': 1,
      'latchkey:carol': 1,
      degraded: 2,
      wake: 2,
      'other wake': 2,
    })
    const bob = sessions.for('bob')
    bob.dispose()
    bob.dispose()
    expect(counts()).toMatchObject({ 'latchkey:bob': 0, degraded: 1, wake: 1, 'other wake': 1 })
    sessions.dispose()
    expect(Object.values(counts())).toEqual([0, 0, 0, 0, 0, 0])
  })

  it('stops what listens once, and needs no way to', async () => {
    const stop = vi.fn()
    const sessions = createSessions({
      resources,
      storage: { ...memoryStorage(), watch: () => stop, onDegraded: () => undefined as never },
      wake: () => stop,
      grant: async () => ({ access_token: secret('x') }),
    })
    const alice = sessions.for('alice')
    await alice.ready
    alice.dispose()
    alice.dispose()
    sessions.dispose()
    expect(stop).toHaveBeenCalledTimes(2)
  })

  it('needs no storage that can be watched', async () => {
    const odd = { ...memoryStorage(), watch: 'x', onDegraded: 7 } as never
    const sessions = createSessions({ resources, storage: odd, grant: async () => ({ access_token: secret('x') }) })
    await sessions.for('alice').ready
    expect(sessions.for('alice').state.status).toBe('signed-out')
    sessions.dispose()
  })
})
