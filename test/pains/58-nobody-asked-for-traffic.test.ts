import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSession, type SessionOptions } from '../../src/index.ts'
import { platformWake } from '../../src/session/platform-wake.ts'
import { secret } from '../support/no-leaks.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

/** A session on the platform's own clocks, with tokens of 100 s; all that it sends is counted. */
async function setUp(options: Partial<SessionOptions<never>> = {}) {
  const counts = { tokenCalls: 0, requests: 0 }
  const session = createSession({
    resources: 'https://api.example.com',
    grant: async () => {
      counts.tokenCalls++
      return { access_token: secret(`${counts.tokenCalls}`), refresh_token: secret('r'), expires_in: 100 }
    },
    fetch: async () => {
      counts.requests++
      return new Response('ok')
    },
    ...options,
  })
  await session.adopt({ access_token: secret('0'), refresh_token: secret('r'), expires_in: 100 })
  return { session, counts }
}

/** A document that can be hidden, and hears of it. */
function stubDocument() {
  const target = new EventTarget()
  const document = Object.assign(target, { visibilityState: 'visible' as 'visible' | 'hidden' })
  vi.stubGlobal('document', document)
  return {
    show(state: 'visible' | 'hidden') {
      document.visibilityState = state
      target.dispatchEvent(new Event('visibilitychange'))
    },
  }
}

const day = 86_400_000

describe('pain 58: by default', () => {
  it('nothing is sent for a whole day unless the app sends something', async () => {
    const { session, counts } = await setUp()
    await vi.advanceTimersByTimeAsync(day)
    expect(counts).toEqual({ tokenCalls: 0, requests: 0 })
    expect(vi.getTimerCount()).toBe(0)
    await session.fetch('https://api.example.com/')
    expect(counts).toEqual({ tokenCalls: 1, requests: 1 })
  })

  it('nor because the page is shown again: it reads, and asks no server', async () => {
    const page = stubDocument()
    const { counts } = await setUp({ wake: platformWake })
    for (const state of ['hidden', 'visible', 'hidden', 'visible'] as const) {
      await vi.advanceTimersByTimeAsync(200_000)
      page.show(state)
    }
    expect(counts).toEqual({ tokenCalls: 0, requests: 0 })
  })
})

describe('pain 58: with keepFresh', () => {
  it('the token is renewed by timer while the page is visible', async () => {
    stubDocument()
    const { session, counts } = await setUp({ keepFresh: true })
    await vi.advanceTimersByTimeAsync(1_000_000)
    expect(counts.tokenCalls).toBeGreaterThanOrEqual(10)
    expect(counts.tokenCalls).toBeLessThanOrEqual(14)
    expect(counts.requests).toBe(0)
    session.dispose()
  })

  it('a hidden page sends nothing for a whole day, and has a fresh token once it is shown', async () => {
    const page = stubDocument()
    const { session, counts } = await setUp({ keepFresh: true, wake: platformWake })
    page.show('hidden')
    await vi.advanceTimersByTimeAsync(day)
    expect(counts.tokenCalls).toBe(0)
    page.show('visible')
    await vi.advanceTimersByTimeAsync(10)
    expect(counts.tokenCalls).toBe(1)
    expect(await session.getAccessToken()).toBe(secret('1'))
    session.dispose()
  })

  it('a page that is hidden from the start sends nothing either', async () => {
    stubDocument().show('hidden')
    const { session, counts } = await setUp({ keepFresh: true })
    await vi.advanceTimersByTimeAsync(day)
    expect(counts).toEqual({ tokenCalls: 0, requests: 0 })
    session.dispose()
  })
})
