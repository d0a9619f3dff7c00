import { expect, it } from 'vitest'
import { createSession, memoryStorage } from '../../src/index.ts'

it.each(['sync', 'async'])(
  'a failing storage is not read over and over because somebody renders the state (%s)',
  async how => {
    let reads = 0
    const session = createSession({
      resources: 'https://api.example.com',
      grant: async () => ({ access_token: 'x' }),
      storage: {
        ...memoryStorage(),
        scope: 'shared',
        getItem() {
          if (++reads > 1000) return null // let the loop end
          const error = new Error('locked')
          if (how === 'sync') throw error
          return Promise.reject(error)
        },
      },
      channel: { postMessage() {}, addEventListener() {}, removeEventListener() {}, close() {} },
    })
    session.subscribe(() => void session.state) // what useSyncExternalStore does
    void session.state
    await new Promise(resolve => setTimeout(resolve, 50))
    expect(reads).toBeLessThan(5)
  },
)
