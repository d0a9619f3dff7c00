import { expect, it } from 'vitest'
import { signInError } from '../../src/session/sign-in-error.ts'
import { refused, SessionError, type SessionErrorCode } from '../../src/values/errors.ts'

it.each(['sign_in_cancelled', 'popup_blocked', 'misconfigured', 'sign_in_failed', 'invalid_token_response'] as const)(
  '%s of a grant is the answer',
  code => {
    const error = new SessionError(code, 'own words')
    expect(signInError(error)).toBe(error)
  },
)

it.each([
  ['refused', refused(), true],
  ['a 400', { status: 400 }, true],
  ['a 401', new Response(null, { status: 401 }), true],
  ['a 499', { status: 499 }, true],
  ['a 429', { status: 429 }, false],
  ['a 500', { status: 500 }, false],
  ['a 503', new Response(null, { status: 503 }), false],
  ['a status that is text', { status: '400' }, false],
  ['the network', new TypeError('Failed to fetch'), false],
  ['nothing', undefined, false],
  ['null', null, false],
  ['an error that is about a session', new SessionError('unreachable' as SessionErrorCode, 'x'), false],
])('%s is sign_in_failed, for good: %s', (_what, cause, isFinal) => {
  const error = signInError(cause)
  expect(error).toMatchObject({ name: 'SessionError', code: 'sign_in_failed', retryable: !isFinal, cause })
  expect(error.message).toMatch(isFinal ? /refused the sign-in.*Check what the user typed/ : /not be reached.*again/)
})
