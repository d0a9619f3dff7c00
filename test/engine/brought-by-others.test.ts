import { expect, it } from 'vitest'
import { api } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { createWorld, settle } from './contexts-fakes.ts'

it('a token of others that comes in the place of a renewed one is not sent where it has expired', async () => {
  const world = createWorld()
  const sent: (string | null)[] = []
  const { session, events } = world.context({
    fetch: async (_input, init) => {
      sent.push(new Headers(init?.headers).get('authorization'))
      return new Response()
    },
  })
  await session.adopt(world.server.signIn())
  await settle()
  world.clock.advance(301_000)
  const off = session.on('renewed', () => {
    off()
    const record = JSON.parse(world.items.get(world.key) ?? '')
    const tokens = { ...record.tokens, accessToken: secret('dead'), expiresAtMs: world.clock.now() - 1000 }
    const answer = { ...record, generation: record.generation + 1, savedAtMs: world.clock.now() - 301_000, tokens }
    const { id, generation } = answer
    world.network.join().postMessage({ from: 'x', what: 'answer', id, generation, record: answer })
  })
  await session.fetch(api)
  expect(events.filter(event => event === 'renewed' || event === 'adopted')).toEqual(['renewed', 'adopted', 'renewed'])
  expect(sent).toEqual([`Bearer ${await session.getAccessToken()}`])
  expect(sent).not.toContain(`Bearer ${secret('dead')}`)
})
