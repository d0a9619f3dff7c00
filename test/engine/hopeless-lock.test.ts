import { expect, it } from 'vitest'
import { createTurns } from '../../src/engine/turn.ts'
import type { Lock } from '../../src/index.ts'

it('two that find out at once that the lock can never work both run under the fallback', async () => {
  const hopeless: Lock = { request: () => Promise.reject(Object.assign(new Error('no'), { name: 'SecurityError' })) }
  const free: Lock = { request: (_name, _options, callback) => callback() }
  let told = 0
  const take = createTurns(hopeless, free, () => told++)
  const ran: number[] = []
  const leave = new AbortController().signal
  const turns = [1, 2].map(one => take('name', { timeoutMs: 1000, leave }, async () => void ran.push(one)))
  expect(await Promise.all(turns)).toEqual(['done', 'done'])
  expect([ran, told]).toEqual([[1, 2], 1])
})
