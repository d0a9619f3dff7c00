import { expect, it } from 'vitest'
import { secret } from '../support/no-leaks.ts'
import { createWorld, settle } from './contexts-fakes.ts'

it('a renewal that finds the record damaged, its token dead, says that this is why the session ended', async () => {
  const world = createWorld()
  const { session } = world.context()
  await session.adopt({ access_token: secret('a'), refresh_token: secret('r'), expires_in: 60 })
  await settle()
  world.clock.advance(61_000)
  world.items.set(world.key, 'torn')
  await expect(session.renew()).rejects.toMatchObject({ message: expect.stringContaining('(storage_corrupt)') })
})
