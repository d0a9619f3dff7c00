import { describe, expect, it } from 'vitest'
import { headerName } from '../../src/values/header-name.ts'
import { readClaims } from '../../src/values/jwt.ts'
import { chain, isThenable } from '../../src/values/maybe-promise.ts'
import { secret } from '../support/no-leaks.ts'

describe('a header name', () => {
  it.each(['x-api-key', 'X_Key', "!#$%&'*+.^_`|~-9", 'a'])('is %s', name => expect(headerName(name)).toBe(name))

  it.each(['', ' x', 'x ', 'x y', 'x\n', '\nx', 'x:', 'é', 'x?key=', '"x"'])(
    'is not %j, and the message shows it',
    name => {
      expect(() => headerName(name)).toThrow(
        expect.objectContaining({ code: 'misconfigured', message: expect.stringContaining(`"${name}"`) }),
      )
      expect(() => headerName(name)).toThrow(/Write one such as/)
    },
  )
})

describe('the claims of a token', () => {
  const jwt = (claims: string) =>
    `${btoa('{"alg":"none"}')}.${Buffer.from(claims).toString('base64url')}.${secret('signature')}`

  it('are those of a JWT', () => {
    expect(readClaims(jwt('{"sub":"ä-1","exp":5}'))).toEqual({ sub: 'ä-1', exp: 5 })
  })

  it.each([undefined, '', 'opaque', 'a.b', 'a.b.c', jwt('{"torn":')])('are none of %s', token => {
    expect(readClaims(token)).toBeUndefined()
  })
})

describe('a value that may be a promise', () => {
  it.each([
    [Promise.resolve(), true],
    // biome-ignore lint/suspicious/noThenProperty: what is looked for
    [{ then() {} }, true],
    // biome-ignore lint/suspicious/noThenProperty: what is looked for
    [{ then: 'no function' }, false],
    [{}, false],
    [undefined, false],
    [null, false],
    ['then', false],
  ])('%o: %s', (value, expected) => expect(isThenable(value)).toBe(expected))

  it('goes on in the same tick where it is there already', async () => {
    expect(chain(1, value => value + 1)).toBe(2)
    const later = chain(Promise.resolve(1), value => value + 1)
    expect(later).toBeInstanceOf(Promise)
    expect(await later).toBe(2)
    await expect(chain(Promise.reject(new Error('failed')), () => 1)).rejects.toThrow('failed')
  })
})
