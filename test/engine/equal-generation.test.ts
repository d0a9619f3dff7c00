import { expect, it } from 'vitest'
import { secret } from '../support/no-leaks.ts'
import { createWorld, settle } from './contexts-fakes.ts'

it('news of another sign-in at the same generation are read: what is stored counts', async () => {
  const world = createWorld()
  const { session } = world.context()
  await session.adopt(world.server.signIn())
  await settle()
  const record = JSON.parse(world.items.get(world.key) ?? '')
  // Two contexts that wrote without having seen each other: a storage without compare and set keeps the last.
  const other = { ...record, id: 'other', tokens: { ...record.tokens, accessToken: secret('other') } }
  world.items.set(world.key, JSON.stringify(other))
  world.network.join().postMessage({ from: 'x', id: 'other', generation: record.generation, what: 'changed' })
  await settle()
  expect(await session.getAccessToken()).toBe(secret('other'))
})
