import { describe, expect, it } from 'vitest'
import {
  abortReason,
  isRefused,
  isSessionError,
  refused,
  SessionError,
  type SessionErrorCode,
  toError,
} from '../../src/values/errors.ts'

describe('SessionError', () => {
  it.each([
    ['sign_in_failed', false, false],
    ['token_refused', false, false],
    ['sign_in_cancelled', false, false],
    ['popup_blocked', false, false],
    ['signed_out', false, true],
    ['unreachable', true, false],
    ['storage_unavailable', true, false],
    ['lock_timeout', true, false],
    ['read_only', false, false],
    ['reentrant', false, false],
    ['invalid_token_response', true, false],
    ['redirect_refused', false, false],
    ['misconfigured', false, false],
    ['disposed', false, false],
  ] as [SessionErrorCode, boolean, boolean][])(
    '%s: retryable %s, signInRequired %s',
    (code, retryable, signInRequired) => {
      const error = new SessionError(code, 'why')
      expect(error).toBeInstanceOf(Error)
      expect(error).toMatchObject({ name: 'SessionError', code, message: 'why', retryable, signInRequired })
      expect([error.retryAtMs, error.challenge, 'cause' in error]).toEqual([undefined, undefined, false])
    },
  )

  it('says what it was made with', () => {
    const challenge = new Response(null, { status: 401 })
    const cause = new Error('down')
    const details = { retryable: false, signInRequired: true, retryAtMs: 0, challenge, cause }
    expect(new SessionError('unreachable', 'why', details)).toMatchObject(details)
    expect('cause' in new SessionError('unreachable', 'why', { cause: undefined })).toBe(true)
  })

  it('is made of a failure for each who waited, with the answer of each', () => {
    const failure = { code: 'unreachable', message: 'why', retryAtMs: 5, signInRequired: true } as const
    const challenge = new Response(null, { status: 401 })
    const [bare, told] = [toError(failure), toError(failure, challenge)]
    expect(bare).toMatchObject(failure)
    expect(bare.challenge).toBeUndefined()
    expect(told).toMatchObject({ ...failure, challenge })
    expect(told).not.toBe(bare)
  })

  it('is recognised, also from another copy of the package, and nothing else is', () => {
    expect(isSessionError(new SessionError('disposed', 'x'))).toBe(true)
    expect(isSessionError(Object.assign(new Error('x'), { name: 'SessionError', code: 'disposed' }))).toBe(true)
    const other = [
      ...[undefined, null, 'SessionError', 7, {}, new Error('x')],
      ...[{ name: 'SessionError' }, { name: 'SessionError', code: 7 }, { name: 'Error', code: 'disposed' }],
    ]
    for (const value of other) expect(isSessionError(value)).toBe(false)
  })
})

describe('refused', () => {
  it('is recognised, also from another copy of the package, and nothing else is', () => {
    const cause = new Response(null, { status: 400 })
    const error = refused(cause)
    expect(error).toMatchObject({ name: 'Refused', refused: true, cause })
    expect(error.message).toMatch(/refused the refresh token/)
    expect(isRefused(error)).toBe(true)
    expect(isRefused({ refused: true })).toBe(true)
    for (const value of [undefined, null, {}, { refused: 'true' }, new Error('refused')])
      expect(isRefused(value)).toBe(false)
  })
})

describe('the reason of an abort', () => {
  it('is the signal’s own, or an AbortError where the platform keeps none', () => {
    const reason = new Error('own')
    expect(abortReason(AbortSignal.abort(reason))).toBe(reason)
    const bare = abortReason({ aborted: true } as AbortSignal)
    expect(bare).toBeInstanceOf(Error)
    expect(bare).toMatchObject({ name: 'AbortError', message: expect.stringContaining('aborted') })
  })
})
