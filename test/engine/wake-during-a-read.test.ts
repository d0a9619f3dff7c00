import { expect, it } from 'vitest'
import { api } from '../servers/strict-authorization-server.ts'
import { createWorld, deferred, settle } from './contexts-fakes.ts'

it('a wake that comes while the read of an earlier one is open is read for, too', async () => {
  const world = createWorld()
  // A wake reads to write again what could not be saved, then each call reads for itself.
  const gates = [deferred(), deferred(), deferred(), deferred()]
  let reads = -1
  let wake: () => void = () => undefined
  const storage = world.storage(world.items, {
    async getItem(key) {
      if (reads >= 0) await gates[reads++]?.promise
      return world.items.get(key)
    },
  })
  const { session } = world.context({
    storage,
    wake: listener => {
      wake = listener
      return () => undefined
    },
  })
  await session.adopt(world.server.signIn())
  await settle()
  let answers = 0
  const send = () => session.fetch(api).then(() => answers++)
  reads = 0
  wake()
  const calls = [send()]
  gates[0]?.resolve()
  await settle()
  wake()
  calls.push(send())
  gates[1]?.resolve()
  gates[2]?.resolve()
  await settle()
  expect(answers).toBe(0)
  gates[3]?.resolve()
  await Promise.all(calls)
  expect(reads).toBe(4)
})
