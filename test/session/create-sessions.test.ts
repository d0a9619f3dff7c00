import { describe, expect, it } from 'vitest'
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
})
