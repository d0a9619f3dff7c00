import { expect, it } from 'vitest'
import { createSession } from '../../src/index.ts'

it('a grant that aborts its caller’s signal in the turn of the call, and rejects, leaves no rejection behind', async () => {
  const reason = new Error('own reason')
  const lost: unknown[] = []
  const note = (error: unknown) => void lost.push(error)
  process.prependListener('unhandledRejection', note)
  const abort = new AbortController()
  const session = createSession<{ signal: AbortSignal }>({
    resources: 'https://api.example.com',
    grant: {
      async signIn() {
        abort.abort(reason)
        throw new Error('aborted')
      },
    },
  })
  // React Native's signals have no reason.
  await expect(session.signIn({ signal: abort.signal })).rejects.toThrow(
    'reason' in abort.signal ? 'own reason' : 'aborted',
  )
  await new Promise(setImmediate)
  process.off('unhandledRejection', note)
  expect(lost).toEqual([])
})
