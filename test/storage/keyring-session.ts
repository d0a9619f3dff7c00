// Runs inside a session bus of its own, see keyring.test.ts.
import assert from 'node:assert/strict'
import { createSession, isSessionError } from '../../src/index.ts'
import { keyringStorage } from '../../src/node.ts'

const service = 'latchkey-test'
const storage = keyringStorage(service)
const makeSession = () =>
  createSession({
    resources: 'https://api.example.com',
    storage,
    grant: async () => ({ access_token: 'renewed', expires_in: 3600 }),
  })

const what = process.argv[2]
if (what === 'works') {
  const long = 'abcdefgh'.repeat(8192)
  const work = keyringStorage(service, { account: 'work' })
  await storage.setItem('a', long)
  assert.equal(await storage.getItem('a'), long)
  assert.equal((await work.getItem('a')) ?? undefined, undefined)
  assert.equal(await storage.replaceItem?.('a', 'something', 'never'), false)
  assert.equal(await storage.replaceItem?.('a', long, 'short 漢字 💂🏽'), true)
  assert.equal(await storage.getItem('a'), 'short 漢字 💂🏽')
  const winners = await Promise.all(
    Array.from({ length: 5 }, async (_, index) => storage.replaceItem?.('a', 'short 漢字 💂🏽', `winner ${index}`)),
  )
  assert.equal(winners.filter(Boolean).length, 1)
  await storage.removeItem('a')
  await storage.removeItem('a')
  assert.equal((await storage.getItem('a')) ?? undefined, undefined)
  console.log('all well')
} else {
  const session = makeSession()
  if (what === 'sign-in') await session.adopt({ access_token: 'kept', expires_in: 3600 })
  try {
    await session.getAccessToken()
    console.log(session.state.status)
  } catch (error) {
    console.log(isSessionError(error) ? error.code : error, String((error as { cause?: unknown }).cause))
  }
}
process.exit()
