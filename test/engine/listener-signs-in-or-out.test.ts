import { expect, it } from 'vitest'
import { createSession } from '../../src/index.ts'
import { secret } from '../support/no-leaks.ts'

const tokens = (name: string) => ({
  access_token: secret(`${name}-access`),
  refresh_token: secret(`${name}-refresh`),
  expires_in: 300,
})
function setUp() {
  const items = new Map<string, string>()
  const revoked: (string | undefined)[] = []
  const session = createSession<void>({
    resources: 'https://api.example.com',
    name: 'test',
    storage: {
      getItem: key => items.get(key),
      setItem: (key, value) => void items.set(key, value),
      removeItem: key => void items.delete(key),
    },
    grant: { revoke: async ({ refreshToken }) => void revoked.push(refreshToken) },
    fetch: async () => new Response(),
  })
  return { items, revoked, session }
}

it('a sign-in that a listener of signed-out begins is kept', async () => {
  const { items, revoked, session } = setUp()
  await session.adopt(tokens('a'))
  let inner: Promise<void> | undefined
  session.on('signed-out', () => {
    inner ??= session.adopt(tokens('b'))
  })
  await session.signOut()
  await inner
  await new Promise(resolve => setTimeout(resolve, 20))
  expect.soft(session.state.status).toBe('signed-in')
  expect.soft(items.get('latchkey:test')).toContain(secret('b-refresh'))
  expect.soft(revoked).toEqual([secret('a-refresh')])
})

it('a sign-out that a listener of signed-in asks for is kept', async () => {
  const { items, session } = setUp()
  let inner: Promise<void> | undefined
  session.on('signed-in', () => {
    inner ??= session.signOut()
  })
  await session.adopt(tokens('a'))
  await inner
  await new Promise(resolve => setTimeout(resolve, 20))
  expect.soft(session.state.status).toBe('signed-out')
  expect.soft(items.get('latchkey:test')).toContain('signedOut')
  expect.soft(await session.fetch('https://api.example.com/').catch(error => error.code)).toBe('signed_out')
})

it('a sign-in that a listener of signed-in begins takes the place of the first', async () => {
  const { items, session } = setUp()
  let hasCalled = false
  session.on('signed-in', () => {
    if (hasCalled) return undefined
    hasCalled = true
    return session.adopt(tokens('b'))
  })
  await session.adopt(tokens('a'))
  await new Promise(resolve => setTimeout(resolve, 20))
  expect.soft(await session.getAccessToken()).toBe(secret('b-access'))
  expect.soft(items.get('latchkey:test')).toContain(secret('b-refresh'))
})
