import fc from 'fast-check'
import { expect, it } from 'vitest'
import { checksumOf, chunksOf } from '../../src/storage/text-chunks.ts'

const text = fc.string({ unit: 'binary', maxLength: 200 })

it('chunks join to the text, are as big as they may be, and each is whole UTF-8', () => {
  fc.assert(
    fc.property(text, fc.integer({ min: 4, max: 50 }), (whole, maxBytes) => {
      const chunks = chunksOf(whole, maxBytes)
      expect(chunks.join('')).toBe(whole)
      for (const [index, chunk] of chunks.entries()) {
        expect(Buffer.from(chunk, 'utf8').toString('utf8')).toBe(chunk)
        const bytes = Buffer.byteLength(chunk)
        expect(bytes).toBeLessThanOrEqual(maxBytes)
        const next = chunks[index + 1]
        if (next)
          expect(bytes + Buffer.byteLength(String.fromCodePoint(next.codePointAt(0)!))).toBeGreaterThan(maxBytes)
      }
    }),
  )
})

it('a checksum tells texts apart that differ in one place', () => {
  fc.assert(
    fc.property(text, fc.nat(), (whole, at) => {
      fc.pre(whole.length > 0)
      const index = at % whole.length
      const other = whole.slice(0, index) + String.fromCharCode(whole.charCodeAt(index) ^ 1) + whole.slice(index + 1)
      expect(checksumOf(other)).not.toBe(checksumOf(whole))
    }),
  )
})
