import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createSession, memoryStorage, type TokenStorage } from '../../src/index.ts'
import {
  compareRecords,
  isRecord,
  isSamePair,
  isTombstone,
  type LiveRecord,
  parseRecord,
  randomId,
} from '../../src/values/record.ts'
import { secret } from '../support/no-leaks.ts'

const record: LiveRecord = {
  v: 1,
  id: 'sign-in',
  generation: 7,
  grant: 'custom',
  tokens: { accessToken: secret('a'), refreshToken: secret('r'), tokenType: 'Bearer', expiresAtMs: 1 },
  savedAtMs: 0,
  attempt: { by: 'tab', atMs: 1, retryAtMs: 2 },
}
const tombstone = { v: 1, id: 'sign-in', generation: 8, signedOut: true }

describe('parseRecord', () => {
  it('reads what was written', () => {
    expect(parseRecord(JSON.stringify(record))).toEqual(record)
    expect(parseRecord(JSON.stringify(tombstone))).toEqual(tombstone)
  })

  it('takes no torn record for a whole one', () => {
    const text = JSON.stringify(record)
    for (let length = 0; length < text.length; length++) expect(parseRecord(text.slice(0, length))).toBeUndefined()
  })

  it('never throws, and what it takes is whole', () => {
    const any = fc.oneof(fc.string(), fc.json(), fc.string({ unit: 'binary' }))
    fc.assert(
      fc.property(any, text => {
        const parsed = parseRecord(text)
        expect(parsed === undefined || isRecord(parsed)).toBe(true)
      }),
      { numRuns: 1000 },
    )
  })

  it('never takes a record with one field of another kind', () => {
    const names = ['v', 'id', 'generation', 'grant', 'tokens', 'savedAtMs', 'attempt'] as const
    const odd = fc.oneof(fc.constantFrom(null, true, [], '1', -0.5, 1e300), fc.object())
    fc.assert(
      fc.property(fc.constantFrom(...names), odd, (name, value) => {
        const parsed = parseRecord(JSON.stringify({ ...record, [name]: value }))
        if (!parsed || 'signedOut' in parsed) return
        expect(typeof parsed.id).toBe('string')
        expect(Number.isSafeInteger(parsed.generation)).toBe(true)
        expect(typeof parsed.tokens.accessToken).toBe('string')
        expect(Number.isFinite(parsed.savedAtMs)).toBe(true)
      }),
      { numRuns: 500 },
    )
  })

  it.each([
    ['another version', { ...record, v: 2 }],
    ['no tokens', { ...record, tokens: undefined }],
    ['a refresh token that is no string', { ...record, tokens: { ...record.tokens, refreshToken: 5 } }],
    ['an expiry that is no number', { ...record, tokens: { ...record.tokens, expiresAtMs: '1' } }],
    ['a fractional generation', { ...record, generation: 1.5 }],
    ['an attempt that is no object', { ...record, attempt: 'now' }],
    ['an attempt that is null', { ...record, attempt: null }],
    ['an attempt at no time', { ...record, attempt: { by: 'tab' } }],
    ['an attempt with a pause that is no number', { ...record, attempt: { by: 'tab', atMs: 1, retryAtMs: '2' } }],
    ['no id', { ...record, id: undefined }],
    ['no grant', { ...record, grant: undefined }],
    ['no time of saving', { ...record, savedAtMs: undefined }],
    ['tokens that are null', { ...record, tokens: null }],
    ['tokens without an access token', { ...record, tokens: { ...record.tokens, accessToken: undefined } }],
    ['tokens without a type', { ...record, tokens: { ...record.tokens, tokenType: undefined } }],
    ['a scope that is no string', { ...record, tokens: { ...record.tokens, scope: ['a'] } }],
    ['an id token that is no string', { ...record, tokens: { ...record.tokens, idToken: {} } }],
    ['a thumbprint that is no string', { ...record, tokens: { ...record.tokens, jkt: 1 } }],
    ['a negative generation', { ...record, generation: -1 }],
    ['a generation near the end of the numbers', { ...record, generation: 2 ** 52 }],
    ['a generation that is text', { ...record, generation: '7' }],
    ['a beginning before all time', { ...record, begunAtMs: -1 }],
    ['a beginning near the end of the numbers', { ...tombstone, begunAtMs: 2 ** 52 }],
    ['a beginning that is text', { ...record, begunAtMs: '7' }],
    ['a beginning that is null', { ...tombstone, begunAtMs: null }],
    ['a sign-out that is not true', { ...tombstone, signedOut: 'yes' }],
    ['no object', 7],
    ['null', null],
    ['a tombstone without a generation', { ...tombstone, generation: undefined }],
  ])('does not take %s', (_what, value) => {
    expect(parseRecord(JSON.stringify(value))).toBeUndefined()
  })

  it.each([
    ['the first generation', { ...record, generation: 0 }],
    ['the last', { ...record, generation: 2 ** 52 - 1 }],
    ['no refresh token, and no end', { ...record, tokens: { accessToken: secret('a'), tokenType: 'DPoP' } }],
    [
      'all that tokens may have',
      { ...record, tokens: { ...record.tokens, scope: 'a b', idToken: secret('i'), jkt: 'key' } },
    ],
    ['no attempt', { ...record, attempt: undefined }],
    ['an attempt under way', { ...record, attempt: { by: 'tab', atMs: 1 } }],
    ['a beginning', { ...record, begunAtMs: 1_800_000_000_000 }],
    ['a beginning between two milliseconds', { ...tombstone, begunAtMs: 0.5 }],
    ['a field that a later version adds', { ...record, later: true }],
  ])('takes %s', (_what, value) => {
    expect(parseRecord(JSON.stringify(value))).toEqual(JSON.parse(JSON.stringify(value)))
  })

  it('tells a tombstone from a live record', () => {
    expect(isTombstone(record)).toBe(false)
    expect(isTombstone({ v: 1, id: 'sign-in', generation: 8, signedOut: true })).toBe(true)
  })

  it('two records are the same pair where sign-in, access token and refresh token are the same', () => {
    const { tokens } = record
    expect(isSamePair(record, { ...record, generation: 9, refused: true })).toBe(true)
    for (const other of [
      { ...record, id: 'other' },
      { ...record, tokens: { ...tokens, accessToken: secret('b') } },
      { ...record, tokens: { ...tokens, refreshToken: secret('s') } },
    ])
      expect(isSamePair(record, other)).toBe(false)
  })
})

describe('of two records', () => {
  const at = (id: string, generation: number, begunAtMs?: number) => ({ ...record, id, generation, begunAtMs })
  const over = { ...at('b', 7, 10), signedOut: true } as const

  it.each([
    ['the later sign-in counts, whatever the generations', at('a', 1, 11), at('b', 9, 10)],
    ['the later sign-in counts, also where it is over', over, at('a', 9, 9)],
    ['the higher generation counts where two began at once', at('a', 8, 10), at('b', 7, 10)],
    ['the higher generation counts where it is not known when one began', at('a', 8), at('b', 7, 10)],
    ['the higher generation counts where it is not known when the other began', at('a', 8, 1), at('b', 7)],
    ['the higher generation counts within a sign-in', at('a', 8, 1), at('a', 7, 2)],
  ])('%s', (_what, more, less) => {
    expect(compareRecords(more, less)).toBeGreaterThan(0)
    expect(compareRecords(less, more)).toBeLessThan(0)
  })

  it('neither counts where both are as new', () => {
    expect(compareRecords(at('a', 7, 10), at('b', 7, 10))).toBe(0)
    expect(compareRecords(at('a', 7), at('b', 7, 10))).toBe(0)
  })
})

describe('a storage that holds anything at all', () => {
  it('makes no session throw or hang, and a new sign-in always helps', async () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.json(),
      fc
        .record(
          {
            v: fc.constantFrom(1, 2),
            id: fc.string(),
            generation: fc.oneof(fc.integer(), fc.constantFrom(1, -1)),
            grant: fc.constantFrom('custom', 'password', '__proto__'),
            tokens: fc.constantFrom(record.tokens, {}, null, { accessToken: secret('x'), tokenType: 'Bearer' }),
            savedAtMs: fc.integer(),
            attempt: fc.constantFrom(undefined, { by: 'x', atMs: 1, retryAtMs: 1e18 }, 7),
            signedOut: fc.constantFrom(undefined, true),
            refused: fc.constantFrom(undefined, true),
          },
          { requiredKeys: [] },
        )
        .map(value => JSON.stringify(value)),
    )
    await fc.assert(
      fc.asyncProperty(text, async stored => {
        const storage: TokenStorage = { ...memoryStorage(), scope: 'context' }
        await storage.setItem('latchkey:api.example.com', stored)
        const options = { resources: 'https://api.example.com', storage, fetch: async () => new Response('ok') }
        const grant = async () => ({ access_token: secret('renewed'), expires_in: 60 })
        const session = createSession({ ...options, grant })
        await session.ready
        await session.fetch('https://api.example.com/').catch(error => expect(error.name).toBe('SessionError'))
        await session.adopt({ access_token: secret('new'), refresh_token: secret('r'), expires_in: 60 })
        expect(await session.getAccessToken()).toBe(secret('new'))
        session.dispose()
        const reloaded = createSession({ ...options, grant })
        expect(await reloaded.getAccessToken()).toBe(secret('new'))
        reloaded.dispose()
      }),
      { numRuns: 300 },
    )
  })
})

describe('an id', () => {
  afterEach(() => {
    vi.unstubAllGlobals()
    vi.restoreAllMocks()
  })

  it('does not repeat', () => {
    expect(new Set(Array.from({ length: 1000 }, randomId)).size).toBe(1000)
  })

  it('is 32 hex digits of the platform’s own random bytes', () => {
    const fill = (bytes: Uint8Array) => bytes.set(bytes.map((_, index) => index * 17))
    vi.stubGlobal('crypto', { getRandomValues: fill })
    expect(randomId()).toBe('00112233445566778899aabbccddeeff')
  })

  it.each([undefined, {}])('or of Math.random where the platform has none: crypto is %o', crypto => {
    vi.stubGlobal('crypto', crypto)
    vi.spyOn(Math, 'random').mockReturnValue(0.999)
    expect(randomId()).toBe('f'.repeat(32))
  })
})
