import { expect, it } from 'vitest'
import { createSession, memoryStorage } from '../../src/index.ts'
import { createResourceMatcher } from '../../src/values/resources.ts'

it.each([
  'https://api.example.com/v1/%2e%2e%2fadmin',
  'https://api.example.com/v1/.%2e%2fadmin',
  'https://api.example.com/v1/x%2f%2e%2e%2f%2e%2e%2fadmin',
])('%s is outside the prefix, however its dots are written', u => {
  expect(createResourceMatcher('https://api.example.com/v1')(u)).toBe(false)
})
it('a stored generation near the end of the numbers does not stop the next sign-in from being kept', async () => {
  const storage = memoryStorage()
  storage.setItem(
    'latchkey:api.example.com',
    JSON.stringify({ v: 1, id: 'x', generation: Number.MAX_SAFE_INTEGER, signedOut: true }),
  )
  const o = {
    resources: 'https://api.example.com',
    storage,
    fetch: async () => new Response('ok'),
    grant: async () => ({ access_token: 'x' }),
  }
  const s = createSession(o)
  await s.ready
  await s.adopt({ access_token: 'new', refresh_token: 'r', expires_in: 60 })
  expect(await s.getAccessToken()).toBe('new')
  const t = createSession(o)
  expect(await t.getAccessToken()).toBe('new')
})
