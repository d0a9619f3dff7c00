import { expect, it } from 'vitest'
import { memoryStorage } from '../../src/index.ts'
import { describeStorage } from './storage-suite.ts'

describeStorage('memoryStorage', () => ({ storage: memoryStorage() }))

it('memoryStorage is nobody else’s: two of them share nothing', () => {
  const [one, other] = [memoryStorage(), memoryStorage()]
  one.setItem('latchkey:a', 'text')
  expect(one.scope).toBe('context')
  expect(other.getItem('latchkey:a')).toBeUndefined()
})
