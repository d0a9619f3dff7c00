import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { asksForMore, isTokenRejected, parseChallenges, tokenChallenge } from '../../src/values/challenge.ts'

describe('parseChallenges', () => {
  it.each([
    ['no header', null, []],
    ['an empty header', '', []],
    ['a scheme alone', 'Bearer', [{ scheme: 'bearer', parameters: {} }]],
    [
      'one challenge, names and scheme in any case',
      'BEARER Realm="A", ERROR="invalid_token"',
      [{ scheme: 'bearer', parameters: { realm: 'A', error: 'invalid_token' } }],
    ],
    [
      'several challenges in one header',
      'Negotiate, Basic realm="x", Bearer realm="y", error="invalid_token"',
      [
        { scheme: 'negotiate', parameters: {} },
        { scheme: 'basic', parameters: { realm: 'x' } },
        { scheme: 'bearer', parameters: { realm: 'y', error: 'invalid_token' } },
      ],
    ],
    [
      'commas, equals signs and schemes inside of quotes',
      'Bearer realm="a, b=c, Basic realm=d", scope="one two"',
      [{ scheme: 'bearer', parameters: { realm: 'a, b=c, Basic realm=d', scope: 'one two' } }],
    ],
    [
      'escaped quotes and backslashes',
      String.raw`Bearer realm="say \"hi\" \\ bye"`,
      [{ scheme: 'bearer', parameters: { realm: String.raw`say "hi" \ bye` } }],
    ],
    ['an empty quoted string', 'Bearer realm=""', [{ scheme: 'bearer', parameters: { realm: '' } }]],
    [
      'unquoted values and spaces around the equals sign',
      'Bearer error = invalid_token , max_age=300',
      [{ scheme: 'bearer', parameters: { error: 'invalid_token', max_age: '300' } }],
    ],
    [
      'no scheme at all, as some servers write',
      'error="invalid_token", error_description="expired"',
      [{ scheme: '', parameters: { error: 'invalid_token', error_description: 'expired' } }],
    ],
    [
      'a scheme that nobody knows',
      'MyAuth foo="1", Bearer error="invalid_token"',
      [
        { scheme: 'myauth', parameters: { foo: '1' } },
        { scheme: 'bearer', parameters: { error: 'invalid_token' } },
      ],
    ],
    [
      'parameters without a scheme beside a scheme that has its own',
      'realm="a", Bearer realm="b"',
      [
        { scheme: '', parameters: { realm: 'a' } },
        { scheme: 'bearer', parameters: { realm: 'b' } },
      ],
    ],
    [
      'spaces of all kinds around the equals sign, and an empty unquoted value',
      'Bearer realm \t=\t"a", error= , scope=b',
      [{ scheme: 'bearer', parameters: { realm: 'a', error: '', scope: 'b' } }],
    ],
    [
      'every character that a name may have',
      "Own!#$%&'*+.^_`|~-9 a!#$%&'*+.^_`|~-9=1",
      [{ scheme: "own!#$%&'*+.^_`|~-9", parameters: { "a!#$%&'*+.^_`|~-9": '1' } }],
    ],
    [
      'the first of a name given twice',
      'Bearer error="invalid_token", error="insufficient_scope"',
      [{ scheme: 'bearer', parameters: { error: 'invalid_token' } }],
    ],
  ])('reads %s', (_what, header, challenges) => {
    expect(parseChallenges(header)).toEqual(challenges)
  })

  it('reads any header without throwing, in names of lower case', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), header => {
        for (const { scheme, parameters } of parseChallenges(header)) {
          expect(scheme).toBe(scheme.toLowerCase())
          for (const name of Object.keys(parameters)) expect(name).toBe(name.toLowerCase())
        }
      }),
    )
  })

  it('reads a long hostile header in a time that grows with its length', () => {
    for (const header of [`${'Bearer '.repeat(20_000)}`, `a="${'\\'.repeat(50_001)}`, `${'a ='.repeat(20_000)}`]) {
      expect(Array.isArray(parseChallenges(header))).toBe(true)
    }
  })

  it('gives back every quoted value that a server can write', () => {
    const value = fc.string({ unit: fc.constantFrom(...'ab ,="\\Bearer\t') })
    fc.assert(
      fc.property(value, value, (realm, scope) => {
        const quote = (text: string) => `"${text.replace(/["\\]/g, '\\$&')}"`
        expect(parseChallenges(`Basic realm=${quote(realm)}, Bearer scope=${quote(scope)}`)).toEqual([
          { scheme: 'basic', parameters: { realm } },
          { scheme: 'bearer', parameters: { scope } },
        ])
      }),
    )
  })
})

const answer = (status: number, header?: string) =>
  new Response(null, { status, headers: header ? { 'www-authenticate': header } : {} })

describe('isTokenRejected', () => {
  it.each([
    [401, undefined, true],
    [401, 'Bearer', true],
    [401, 'Bearer realm="x", error="invalid_token"', true],
    [401, 'error="invalid_token"', true],
    [401, 'DPoP error="invalid_token"', true],
    [401, 'Basic realm="x"', true],
    [401, 'Bearer error="insufficient_scope"', false],
    [401, 'Bearer error="invalid_request"', false],
    [401, 'Bearer error="insufficient_user_authentication", max_age="5"', false],
    [401, 'DPoP error="use_dpop_nonce"', false],
    [401, 'error="insufficient_scope"', false],
    [401, 'Basic error="insufficient_scope"', true],
    [401, 'Basic error="invalid_request", Bearer error="invalid_token"', true],
    [200, 'Bearer error="invalid_token"', false],
    [403, 'Bearer error="invalid_token"', false],
    [403, undefined, false],
    [500, undefined, false],
  ])('of a %d with %s is %s', (status, header, expected) => {
    expect(isTokenRejected(answer(status, header))).toBe(expected)
  })

  it('finds the challenge that names the error, whatever stands before it', () => {
    const response = answer(401, 'Negotiate, Bearer realm="a, b", DPoP error="invalid_token", algs="ES256"')
    expect(tokenChallenge(response)).toEqual({ error: 'invalid_token', algs: 'ES256' })
  })

  it('there is none where nobody names an error, or another scheme does', () => {
    for (const header of [undefined, 'Bearer', 'Bearer realm="x"', 'Bearer error=""', 'Basic error="invalid_token"'])
      expect(tokenChallenge(answer(401, header))).toBeUndefined()
  })
})

it.each([
  ['insufficient_scope', true],
  ['insufficient_user_authentication', true],
  ['invalid_token', false],
  ['', false],
])('%s asks for more: %s', (error, expected) => expect(asksForMore({ error })).toBe(expected))
