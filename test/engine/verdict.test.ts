import { describe, expect, it } from 'vitest'
import { judge, longestRetryAfterMs } from '../../src/engine/verdict.ts'
import { refused, SessionError } from '../../src/values/errors.ts'

const nowMs = 1_800_000_000_000
const answer = (status: number, body: unknown = {}, headers: Record<string, string> = {}) =>
  new Response(typeof body === 'string' ? body : JSON.stringify(body), { status, headers })
const verdictOf = (error: unknown, isRefusedByApp?: (error: unknown) => boolean) => judge(error, nowMs, isRefusedByApp)

describe('a definitive no', () => {
  it.each([
    ['refused()', refused()],
    ['refused() of another copy', { refused: true }],
    ['an error that names invalid_grant', { error: 'invalid_grant' }],
    ['a Response that does', answer(400, { error: 'invalid_grant' })],
    ['a Response of 401 that does', answer(401, { error: 'invalid_grant' })],
    ['a Response of 499 that does', answer(499, { error: 'invalid_grant' })],
  ])('is %s', async (_what, error) => {
    expect(await verdictOf(error)).toEqual({ what: 'refused', cause: error })
  })

  it('is what the app says is one, and a predicate that throws or says something else has not', async () => {
    const error = new Error('E_REFRESH_REVOKED')
    expect(await verdictOf(error, given => given === error)).toEqual({ what: 'refused', cause: error })
    const others = [
      () => false,
      () => 'yes' as never,
      () => {
        throw new Error('bug')
      },
    ]
    for (const says of others) expect(await verdictOf(error, says)).toMatchObject({ what: 'unreachable' })
  })

  it('leaves the Response unread', async () => {
    const error = answer(400, { error: 'invalid_grant' })
    await verdictOf(error)
    expect(error.bodyUsed).toBe(false)
  })

  it.each([
    ['a success', answer(200, { error: 'invalid_grant' })],
    ['a 500', answer(500, { error: 'invalid_grant' })],
    ['another code', answer(400, { error: 'invalid_client' })],
    ['HTML', answer(400, '<html>')],
    ['null', answer(400, 'null')],
    ['text', { error: 'Invalid_Grant' }],
    ['nothing', undefined],
    ['null thrown', null],
    ['a string', 'invalid_grant'],
  ])('is not %s', async (_what, error) => {
    expect(await verdictOf(error)).toMatchObject({
      what: 'unreachable',
      isTargetRefused: false,
      failure: { cause: error },
    })
  })

  it('is none that was read already', async () => {
    const error = answer(400, { error: 'invalid_grant' })
    await error.text()
    expect(await verdictOf(error)).toMatchObject({ what: 'unreachable', isClientError: true })
  })
})

describe('everything else keeps the session', () => {
  it.each([
    [399, false, true],
    [400, true, false],
    [401, true, false],
    [404, true, false],
    [408, false, false],
    [425, false, false],
    [429, false, false],
    [499, true, false],
    [500, false, true],
    [503, false, true],
    [0, false, true],
  ])(
    'a status of %d is a client’s error: %s; worth another try at once: %s',
    async (status, isClientError, isPassing) => {
      const verdict = await verdictOf({ status })
      expect(verdict).toMatchObject({ isClientError, isPassing, failure: { code: 'unreachable' } })
      const { failure } = verdict as Extract<typeof verdict, { what: 'unreachable' }>
      expect(failure.message).toBe(
        `The token could not be renewed${status ? ` (HTTP ${status})` : ''}. The session is kept; try again later.`,
      )
      expect('retryAtMs' in failure).toBe(false)
    },
  )

  it.each([
    ['network trouble', new TypeError('Failed to fetch')],
    ['a status that is text', { status: '400' }],
    ['what only looks like a Response', { status: 400, headers: {}, error: undefined }],
    ['nothing', undefined],
    ['null', null],
  ])('%s', async (what, error) => {
    expect(await verdictOf(error)).toMatchObject({
      isClientError: what.startsWith('what only'),
      isTargetRefused: false,
    })
  })

  it('tokens that are none say so in their own words', async () => {
    const error = new SessionError('invalid_token_response', 'own words')
    expect(await verdictOf(error)).toMatchObject({
      isPassing: true,
      failure: { code: 'invalid_token_response', message: 'own words', cause: error },
    })
    const other = new SessionError('misconfigured', 'own words')
    expect(await verdictOf(other)).toMatchObject({ failure: { code: 'unreachable' } })
  })

  it.each(['invalid_target', 'invalid_scope'])('%s is about what was asked for', async error => {
    expect(await verdictOf({ error, status: 400 })).toMatchObject({ what: 'unreachable', isTargetRefused: true })
    expect(await verdictOf(answer(400, { error }))).toMatchObject({ isTargetRefused: true })
  })
})

describe('Retry-After', () => {
  it.each([
    ['seconds', '120', 120_000],
    ['a fraction', '0.5', 500],
    ['a date', new Date(nowMs + 30_000).toUTCString(), 30_000],
    ['an hour', '3600', longestRetryAfterMs],
    ['more than an hour', '999999', longestRetryAfterMs],
    ['a date of next year', new Date(nowMs + 1e11).toUTCString(), longestRetryAfterMs],
    ['zero', '0', undefined],
    ['the past', new Date(nowMs - 1000).toUTCString(), undefined],
    ['no date', 'soon', undefined],
    ['empty', '', undefined],
    ['a number', 120, undefined],
    ['negative', '-5', undefined],
  ])('of %s: %s', async (_what, retryAfter, ms) => {
    const verdict = await verdictOf({ status: 503, retryAfter })
    const retryAtMs = ms === undefined ? undefined : nowMs + ms
    expect((verdict as { failure: { retryAtMs?: number } }).failure.retryAtMs).toBe(retryAtMs)
    // Who was told when to come back does not come at once.
    expect(verdict).toMatchObject({ isPassing: retryAtMs === undefined })
  })

  it('stands in a header of a Response', async () => {
    expect(await verdictOf(answer(503, {}, { 'retry-after': '7' }))).toMatchObject({
      failure: { retryAtMs: nowMs + 7000, message: expect.stringContaining('503') },
    })
    expect(longestRetryAfterMs).toBe(3_600_000)
  })
})
