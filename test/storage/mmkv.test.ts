import { expect, it } from 'vitest'
import { fromMMKV } from '../../src/react-native.ts'
import { describeStorage } from './storage-suite.ts'

function mmkv(remove: 'remove' | 'delete') {
  const items = new Map<string, string>()
  return {
    getString: (key: string) => items.get(key),
    set: (key: string, value: string) => void items.set(key, value),
    [remove]: (key: string) => items.delete(key),
  }
}

describeStorage('fromMMKV, version 4', () => ({ storage: fromMMKV(mmkv('remove')) }))
describeStorage('fromMMKV, up to version 3', () => ({ storage: fromMMKV(mmkv('delete')) }))

it('fromMMKV answers in the same tick', () => {
  const storage = fromMMKV(mmkv('remove'))
  storage.setItem('latchkey:a', 'text')
  expect(storage.getItem('latchkey:a')).toBe('text')
})
