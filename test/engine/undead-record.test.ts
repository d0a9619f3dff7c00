import { expect, it } from 'vitest'
import { secret } from '../support/no-leaks.ts'
import { createWorld, settle } from './contexts-fakes.ts'

it('a successor that was stored while another tab signed out is revoked when the tombstone is written again', async () => {
  const world = createWorld()
  const { session } = world.context()
  await session.adopt(world.server.signIn())
  await settle()
  const record = JSON.parse(world.items.get(world.key) ?? '')
  await session.signOut()
  await settle()
  // The renewal of another tab, which had read before the tombstone was there and could not compare.
  const tokens = { ...record.tokens, accessToken: secret('late'), refreshToken: secret('late-refresh') }
  world.items.set(world.key, JSON.stringify({ ...record, tokens, generation: record.generation + 2 }))
  world.network.join().postMessage({ from: 'x', id: record.id, generation: record.generation + 2, what: 'changed' })
  await settle()
  expect(world.items.get(world.key)).toContain('signedOut')
  expect(world.revoked).toContain(secret('late-refresh'))
})

it('a context that hears of a sign-out which did not know its tokens revokes them', async () => {
  const world = createWorld()
  const { session } = world.context()
  await session.adopt(world.server.signIn())
  await settle()
  const record = JSON.parse(world.items.get(world.key) ?? '')
  // Another tab that had not seen this sign-in's last renewal wrote over it.
  world.items.set(world.key, JSON.stringify({ v: 1, id: record.id, generation: record.generation, signedOut: true }))
  world.network.join().postMessage({ from: 'x', id: record.id, generation: record.generation, what: 'signed-out' })
  await settle()
  expect(session.state).toEqual({ status: 'signed-out', reason: 'elsewhere' })
  expect(world.revoked).toContain(record.tokens.refreshToken)
})
