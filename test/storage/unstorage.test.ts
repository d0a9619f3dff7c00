import { createStorage } from 'unstorage'
import { expect, it } from 'vitest'
import { createSession, fromUnstorage } from '../../src/index.ts'
import { secret } from '../support/no-leaks.ts'
import { describeStorage } from './storage-suite.ts'

describeStorage('fromUnstorage', () => ({ storage: fromUnstorage(createStorage()) }))

it('fromUnstorage keeps a session over a restart, although values come back parsed', async () => {
  const storage = fromUnstorage(createStorage())
  const options = {
    resources: 'https://api.example.com/v1',
    grant: async () => ({ access_token: secret('n') }),
    storage,
  }
  const first = createSession(options)
  await first.adopt({ access_token: secret('a'), expires_in: 60 })
  first.dispose()
  const second = createSession(options)
  expect(await second.getAccessToken()).toBe(secret('a'))
})
