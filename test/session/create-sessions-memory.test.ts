import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { memoryStorage, type TokenStorage } from '../../src/index.ts'
import { createSessions } from '../../src/node.ts'
import { secret } from '../support/no-leaks.ts'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

/** How many are left once what nobody holds is collected. */
function countAlive(refs: readonly WeakRef<object>[]): number {
  gc()
  return refs.filter(ref => ref.deref()).length
}

/** A storage and a wake that hold on to all who listen, as real ones do. */
function createListened() {
  const listeners = new Set<unknown>()
  const listen = (listener: unknown) => {
    listeners.add(listener)
    return () => void listeners.delete(listener)
  }
  const memory = memoryStorage()
  const storage: TokenStorage = {
    ...memory,
    scope: 'shared',
    lock: { request: (_name, _options, callback) => callback() },
    watch: (_key, listener) => listen(listener),
    onDegraded: listener => listen(listener),
  }
  return { listeners, storage, wake: (listener: () => void) => listen(listener) }
}

const options = {
  resources: 'https://api.example.com',
  grant: async ({ refreshToken = '' }) => ({
    access_token: `${refreshToken}-new`,
    refresh_token: refreshToken,
    expires_in: 60,
  }),
  fetch: (async () => new Response('ok')) as typeof fetch,
}

describe('the memory of createSessions', () => {
  it('is that of `max` sessions: who is forgotten is let go, with all that listened for him', async () => {
    const { listeners, storage, wake } = createListened()
    const sessions = createSessions({ ...options, storage, wake, max: 10 })
    const refs: WeakRef<object>[] = []
    for (let index = 0; index < 200; index++) {
      const session = sessions.for(`user-${index}`)
      refs.push(new WeakRef(session))
      await session.adopt({ access_token: secret('a'), refresh_token: secret('r'), expires_in: 60 })
      await session.fetch('https://api.example.com/me')
      await session.renew()
      // What stands behind the session holds its state.
      refs.push(new WeakRef(session.state))
    }
    // A wake, a watcher and one for degraded storages each.
    expect(listeners.size).toBe(30)
    // Timers of bounded waits hold on to theirs for a while.
    await expect.poll(() => countAlive(refs), { timeout: 10_000 }).toBeLessThanOrEqual(24)
    sessions.dispose()
    expect(listeners.size).toBe(0)
  }, 15_000)

  it('starts nothing that listens in a session that was forgotten before its first use', async () => {
    const { listeners, storage, wake } = createListened()
    const sessions = createSessions({ ...options, storage, wake, max: 1 })
    const held = sessions.for('alice')
    sessions.for('bob')
    await held.adopt({ access_token: secret('a'), expires_in: 60 })
    expect((await held.fetch('https://api.example.com/me')).status).toBe(200)
    expect(listeners.size).toBe(0)
  })

  it('lets pools on one storage share the renewal of a user, and nobody else’s', async () => {
    const storage = memoryStorage()
    let renewals = 0
    const make = () =>
      createSessions({
        ...options,
        storage,
        grant: async tokens => {
          renewals++
          await new Promise(resolve => setImmediate(resolve))
          return options.grant(tokens)
        },
      })
    const [one, other] = [make(), make()]
    for (const user of ['alice', 'bob']) {
      await one.for(user).adopt({ access_token: secret(user), refresh_token: secret(user), expires_in: 60 })
      await other.for(user).ready
    }
    await Promise.all([one.for('alice').renew(), other.for('alice').renew(), one.for('bob').renew()])
    expect(renewals).toBe(2)
  })

  it.each([0, -1, Number.NaN, 'many' as never])('refuses a max of %s', max => {
    expect(() => createSessions({ ...options, max })).toThrow(expect.objectContaining({ code: 'misconfigured' }))
  })
})
