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
  it('27: 1,000 users with 1,000 interleaved requests never get each other’s token', async () => {
    const { sessions, signIn } = createPool()
    const users = Array.from({ length: 1000 }, (_, index) => `user-${index}-`)
    await Promise.all(users.map(signIn))
    const order = [...users].sort(() => Math.random() - 0.5)
    const answers = await Promise.all(
      order.map(async user => [user, await (await sessions.for(user).fetch(url)).text()] as const),
    )
    for (const [user, authorization] of answers) expect(authorization.startsWith(`Bearer ${secret(user)}`)).toBe(true)
  })

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
