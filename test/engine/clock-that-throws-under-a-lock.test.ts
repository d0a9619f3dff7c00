import { afterEach, expect, it, vi } from 'vitest'
import { createWorld, settle } from './contexts-fakes.ts'

afterEach(() => void vi.useRealTimers())

it('a clock that throws in the middle of a renewal under a lock leaves nobody waiting', async () => {
  vi.useFakeTimers()
  const world = createWorld()
  let isBroken = false
  const clock = {
    monotonic: () => world.clock.monotonic(),
    now() {
      if (isBroken) throw new Error('broken clock')
      return world.clock.now()
    },
  }
  const { session } = world.context({
    clock,
    grant: async () => {
      isBroken = true
      throw { status: 429 }
    },
  })
  await session.adopt(world.server.signIn())
  await settle()
  let error: { code?: string } | undefined
  void session.renew().catch(reason => {
    error = reason
  })
  await settle()
  await vi.advanceTimersByTimeAsync(300_000)
  expect(error).toMatchObject({ code: 'unreachable', cause: { message: 'broken clock' } })
})
