import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { homeOf } from '../../src/engine/flight.ts'
import { RecordStore } from '../../src/engine/record-store.ts'
import { sleep } from '../../src/values/timers.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const tombstone = (id: string) => ({ v: 1, id, generation: 1, signedOut: true }) as const

it('what is decided while another write is under way is decided again once that is through', async () => {
  let text: string | undefined
  // The first write of all loses; each operation takes its time.
  const times = { read: [1000, 2000, 2000, 0], write: [3000, 3000, 0] }
  let isFirst = true
  const storage = {
    async getItem() {
      await sleep(times.read.shift() ?? 0)
      return text
    },
    async setItem() {},
    async removeItem() {},
    async replaceItem(_key: string, expected: string | undefined, value: string) {
      await sleep(times.write.shift() ?? 0)
      if (isFirst || expected !== text) {
        isFirst = false
        return false
      }
      text = value
      return true
    },
  }
  const home = homeOf(storage, 'key')
  const store = new RecordStore({
    home,
    storage,
    key: 'key',
    storageTimeoutMs: 5000,
    isOwn: () => true,
    isInteractive: false,
    isReadOnly: false,
  })
  const seen: unknown[] = []
  const slow = store.update(() => tombstone('slow'))
  const next = store.update(reading => {
    seen.push(reading.what === 'value' ? reading.record.id : reading.what)
    return tombstone('next')
  })
  await vi.advanceTimersByTimeAsync(30_000)
  expect(await slow).toMatchObject({ what: 'written' })
  expect(await next).toMatchObject({ what: 'written' })
  // Never on the empty storage that it read first.
  expect(seen).toEqual(['slow'])
  expect(JSON.parse(text ?? '').id).toBe('next')
})
