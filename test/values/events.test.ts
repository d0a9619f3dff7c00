import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { callSafely, Emitter } from '../../src/values/events.ts'

let told: unknown[][]
beforeEach(() => {
  told = []
  vi.spyOn(console, 'error').mockImplementation((...given) => void told.push(given))
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllGlobals()
})

const createCounter = () => new Emitter<{ count: number; other: string }>()

it('tells each listener of the type, in order, one that was added twice twice', () => {
  const emitter = createCounter()
  const heard: string[] = []
  const twice = (count: number) => heard.push(`twice ${count}`)
  emitter.on('count', twice)
  emitter.on('count', count => heard.push(`once ${count}`))
  emitter.on('count', twice)
  emitter.on('other', () => heard.push('never'))
  emitter.emit('count', 7)
  expect(heard).toEqual(['twice 7', 'once 7', 'twice 7'])
})

it('an off ends its own listening alone, and may be repeated', () => {
  const emitter = createCounter()
  const heard: number[] = []
  const listener = (count: number) => heard.push(count)
  const off = emitter.on('count', listener)
  const other = emitter.on('count', listener)
  off()
  off()
  expect(emitter.has('count')).toBe(true)
  emitter.emit('count', 1)
  other()
  emitter.emit('count', 2)
  expect(heard).toEqual([1])
})

it('knows whether anybody listens', () => {
  const emitter = createCounter()
  expect(emitter.has('count')).toBe(false)
  const off = emitter.on('count', () => undefined)
  expect([emitter.has('count'), emitter.has('other')]).toEqual([true, false])
  off()
  expect(emitter.has('count')).toBe(false)
  emitter.emit('count', 1) // to nobody
})

it('who comes or goes during an event changes nothing about that event', () => {
  const emitter = createCounter()
  const heard: string[] = []
  emitter.on('count', () => {
    off()
    emitter.on('count', () => heard.push('late'))
  })
  const off = emitter.on('count', () => heard.push('second'))
  emitter.emit('count', 1)
  expect(heard).toEqual(['second'])
})

it('a listener that throws or rejects is reported to the console, and harms nobody', async () => {
  const emitter = createCounter()
  const [thrown, rejected] = [new Error('thrown'), new Error('rejected')]
  const heard: number[] = []
  emitter.on('count', () => {
    throw thrown
  })
  emitter.on('count', () => Promise.reject(rejected))
  emitter.on('count', count => heard.push(count))
  emitter.emit('count', 3)
  expect(heard).toEqual([3])
  await new Promise(setImmediate)
  expect(told.map(([, error]) => error)).toEqual([thrown, rejected])
  for (const [text] of told) expect(text).toContain('listener')
})

it('is quiet where there is no console', () => {
  vi.stubGlobal('console', undefined)
  callSafely(() => {
    throw new Error('thrown')
  }, undefined)
})
