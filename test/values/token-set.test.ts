import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readTokenResponse, type TokenSet } from '../../src/values/token-set.ts'
import { secret } from '../support/no-leaks.ts'

const sentAtMs = 1_800_000_000_000
const base64url = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
const jwt = (claims: object) => `${base64url({ alg: 'none' })}.${base64url(claims)}.${secret('signature')}`
const previous: TokenSet = {
  accessToken: secret('old-access'),
  refreshToken: secret('old-refresh'),
  tokenType: 'Bearer',
  expiresAtMs: sentAtMs - 1,
  scope: 'old scope',
  idToken: secret('old-id'),
}

describe('readTokenResponse', () => {
  it.each([
    ['a number', 60, sentAtMs + 60_000],
    ['a string', '60', sentAtMs + 60_000],
    ['0', 0, sentAtMs],
    ['negative', -5, sentAtMs - 5000],
    ['absent', undefined, undefined],
    ['null', null, undefined],
    ['an empty string', '', undefined],
    ['no number', 'soon', undefined],
    ['NaN', Number.NaN, undefined],
    ['infinite', Number.POSITIVE_INFINITY, undefined],
    ['beyond all calendars', 1e300, undefined],
  ])('counts expires_in from when the token was asked for: %s', (_what, expires_in, expiresAtMs) => {
    const tokens = readTokenResponse({ access_token: secret('a'), expires_in }, sentAtMs)
    expect(tokens.expiresAtMs).toBe(expiresAtMs)
  })

  it('takes the life span of a JWT where expires_in is missing, whatever the server’s clock says', () => {
    const access_token = jwt({ iat: 1000, exp: 1090 })
    expect(readTokenResponse({ access_token }, sentAtMs).expiresAtMs).toBe(sentAtMs + 90_000)
    expect(readTokenResponse({ access_token, expires_in: 30 }, sentAtMs).expiresAtMs).toBe(sentAtMs + 30_000)
    expect(readTokenResponse({ access_token: jwt({ exp: 1090 }) }, sentAtMs).expiresAtMs).toBeUndefined()
  })

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a string', '<html>Sign in to the WiFi</html>'],
    ['an array', []],
    ['no access_token', { refresh_token: secret('r') }],
    ['an empty access_token', { access_token: '' }],
    ['an access_token that is no string', { access_token: 7 }],
    ['an access_token with a line break', { access_token: `${secret('a')}\r\nX: y` }],
    ['an access_token with a space', { access_token: `${secret('a')} b` }],
    ['an access_token that no header carries', { access_token: `${secret('a')}ü` }],
  ])('refuses %s as invalid_token_response, without telling what it got', (_what, response) => {
    const act = () => readTokenResponse(response, sentAtMs)
    expect(act).toThrow(expect.objectContaining({ code: 'invalid_token_response', retryable: true }))
    expect(act).not.toThrow(/tok3n-/)
  })

  it('23: merges any answer as RFC 6749 §6 says: a new value wins, an absent or empty one keeps the old', () => {
    const value = (name: string) => fc.constantFrom(undefined, null, '', secret(`old-${name}`), secret(`new-${name}`))
    const answers = fc.record({
      refresh_token: value('refresh'),
      expires_in: fc.constantFrom(undefined, null, '', '60', 60, '0', 0, -1),
      scope: fc.constantFrom(undefined, null, '', 'old scope', 'new scope'),
      id_token: value('id'),
    })
    const before = fc.constantFrom(
      previous,
      { accessToken: secret('bare'), tokenType: 'Bearer' } as TokenSet,
      undefined,
    )
    fc.assert(
      fc.property(answers, before, (answer, old) => {
        const tokens = readTokenResponse({ access_token: secret('new-access'), ...answer }, sentAtMs, old)
        expect(tokens.accessToken).toBe(secret('new-access'))
        expect(tokens.refreshToken).toBe(answer.refresh_token || old?.refreshToken)
        expect(tokens.scope).toBe(answer.scope || old?.scope)
        expect(tokens.idToken).toBe(answer.id_token || old?.idToken)
        // The old life span never survives: an unknown one is unknown.
        const seconds = answer.expires_in === null || answer.expires_in === '' ? undefined : answer.expires_in
        expect(tokens.expiresAtMs).toBe(seconds === undefined ? undefined : sentAtMs + Number(seconds) * 1000)
        expect(Object.values(tokens)).not.toContain(undefined)
      }),
      { numRuns: 600 },
    )
  })

  it('keeps the token type as the server wrote it, Bearer where it wrote none', () => {
    const type = (token_type?: string) => readTokenResponse({ access_token: secret('a'), token_type }, 0).tokenType
    expect([type('bearer'), type('DPoP'), type(''), type()]).toEqual(['bearer', 'DPoP', 'Bearer', 'Bearer'])
  })

  it('says in its error what a grant resolves with', () => {
    expect(() => readTokenResponse({}, 0)).toThrow(/no usable access_token.*access_token, expires_in, refresh_token/)
  })

  it('has no life span of a JWT that leaves one end of it open', () => {
    const life = (claims: object) => readTokenResponse({ access_token: jwt(claims) }, sentAtMs).expiresAtMs
    expect(life({ iat: 1000 })).toBeUndefined()
    expect(life({})).toBeUndefined()
    expect(life({ iat: 'x', exp: 1090 })).toBeUndefined()
  })

  it('binds the tokens of a sign-in to its key, and those of a renewal to the same', () => {
    const wire = { access_token: secret('a'), jkt: 'new-key' }
    expect(readTokenResponse(wire, 0)).toMatchObject({ jkt: 'new-key' })
    expect(readTokenResponse(wire, 0, { ...previous, jkt: 'old-key' })).toMatchObject({ jkt: 'old-key' })
    expect(readTokenResponse(wire, 0, previous)).not.toHaveProperty('jkt')
    expect(readTokenResponse({ access_token: secret('a') }, 0)).toEqual({
      accessToken: secret('a'),
      tokenType: 'Bearer',
    })
  })

  it('takes every character that a header carries, and life spans of fractions', () => {
    expect(readTokenResponse({ access_token: '!~', expires_in: 0.5 }, 1)).toMatchObject({
      accessToken: '!~',
      expiresAtMs: 501,
    })
    for (const access_token of [' a', 'a ', '\u007f', 'a\u00a0'])
      expect(() => readTokenResponse({ access_token }, 0)).toThrow(/no usable/)
  })
})
