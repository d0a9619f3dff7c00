import { expect, it } from 'vitest'
import { memoryLock } from '../../src/locks/memory.ts'
import { describeLock } from './lock-suite.ts'

describeLock('memoryLock', () => memoryLock())

// Not in the suite: the request of Node 24's navigator.locks stays pending for ever.
it('memoryLock is free again after a callback that throws before it has a promise', async () => {
  const lock = memoryLock()
  const failure = new Error('at once')
  const request = lock.request('latchkey:a', {}, () => {
    throw failure
  })
  await expect(request).rejects.toBe(failure)
  await lock.request('latchkey:a', {}, async () => undefined)
})
