import ky from 'ky'
import { describe, expect, it } from 'vitest'
import { isSessionError, refused } from '../../src/index.ts'
import { listen, onlyToken, open, tokens } from '../fetch/server.ts'

/** A retry of the kind that wraps a whole client: three more times, whatever it was. */
async function stubborn<T>(call: () => Promise<T>, isRetried: (error: unknown) => boolean = () => true): Promise<T> {
  for (let left = 3; ; left--) {
    try {
      return await call()
    } catch (error) {
      if (!left || !isRetried(error)) throw error
    }
  }
}

describe('pain 60: retries around session.fetch', () => {
  it('of a dead session cost one token call in all, and no request', async () => {
    const api = await listen()
    let renewals = 0
    const { session } = await open(api.origin, {
      expiresIn: 60,
      grant: async () => {
        renewals++
        throw refused()
      },
    })
    const client = ky.create({ fetch: session.fetch, retry: { limit: 2, delay: () => 0 } })
    const calls = Array.from({ length: 20 }, () => stubborn(() => client.get(`${api.origin}/`)).catch(error => error))
    for (const error of await Promise.all(calls)) {
      const own = isSessionError(error) ? error : error.cause
      expect(own).toMatchObject({ code: 'signed_out', retryable: false, signInRequired: true })
    }
    expect([renewals, api.seen]).toEqual([1, []])
  })

  it('can be told by one line not to try again', async () => {
    const api = await listen()
    let calls = 0
    const { session } = await open(api.origin, { expiresIn: 60, grant: () => Promise.reject(refused()) })
    const call = () => {
      calls++
      return session.fetch(api.origin)
    }
    const isRetried = (error: unknown) => !isSessionError(error) || error.retryable
    await expect(stubborn(call, isRetried)).rejects.toMatchObject({ code: 'signed_out' })
    expect(calls).toBe(1)
  })

  it('of a live session see one renewal and nothing to retry', async () => {
    const api = await listen(onlyToken(2))
    let retries = 0
    let renewals = 0
    const { session } = await open(api.origin, {
      grant: async () => {
        renewals++
        return tokens(2)
      },
    })
    const client = ky.create({ fetch: session.fetch, hooks: { beforeRetry: [() => void retries++] } })
    const calls = Array.from({ length: 20 }, () => stubborn(() => client.post(`${api.origin}/`, { json: { a: 1 } })))
    for (const { status } of await Promise.all(calls)) expect(status).toBe(200)
    expect([renewals, retries]).toEqual([1, 0])
  })
})
