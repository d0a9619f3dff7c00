import { expect, test, vi } from 'vitest'
import { clientCredentials, createSession } from '../../src/index.ts'

test('a headless sign-in at a server that hangs rejects unreachable within its time, and the program goes on', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    const session = createSession({
      resources: 'https://api.example.com',
      fetch: (() => new Promise(() => {})) as typeof fetch,
      grant: clientCredentials({ tokenEndpoint: 'https://login.example.com/token', clientId: 'service' }),
    })
    const failing = expect(session.getAccessToken()).rejects.toMatchObject({ code: 'unreachable', retryable: true })
    await vi.advanceTimersByTimeAsync(30_000)
    await failing
  } finally {
    vi.useRealTimers()
  }
})
