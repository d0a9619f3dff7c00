import { describe, expect, it } from 'vitest'
import { createSession, type Lock, memoryStorage, type TokenStorage } from '../../src/index.ts'
import { secret } from '../support/no-leaks.ts'
import { describeLock } from './lock-suite.ts'

const locks = (navigator as { locks?: Lock }).locks

describe.runIf(locks)('on a Node with Web Locks', () => {
  describeLock('navigator.locks', () => locks as Lock)

  it('fits: sessions on a shared storage take turns by it', async () => {
    const memory = memoryStorage()
    const shared: TokenStorage = { ...memory, scope: 'shared' }
    let renewals = 0
    const create = () =>
      createSession({
        resources: 'https://api.example.com',
        name: 'navigator-locks',
        grant: async () => ({ access_token: secret(`access-${++renewals}`), refresh_token: 'r', expires_in: 60 }),
        // Another object each time, as in another tab: no flight is shared, only the lock.
        storage: { ...shared },
        fetch: async () => new Response('ok'),
      })
    const [one, other] = [create(), create()]
    await one.adopt({ access_token: secret('access'), refresh_token: 'r', expires_in: 0 })
    await other.ready
    const tokens = await Promise.all([one.getAccessToken(), other.getAccessToken()])
    expect(tokens).toEqual([secret('access-1'), secret('access-1')])
    expect(renewals).toBe(1)
    one.dispose()
    other.dispose()
  })
})
