import { describe, expect, test } from 'vitest'
import { secret, takeLeaks } from '../support/no-leaks.ts'

describe('the browser of these tests is a real one', () => {
  test('a Web Lock excludes its second holder', async () => {
    const name = crypto.randomUUID()
    await navigator.locks.request(name, async () => {
      const second = await navigator.locks.request(name, { ifAvailable: true }, async lock => lock)
      expect(second).toBeNull()
    })
  })

  test('a BroadcastChannel delivers to another one, and not to itself', async () => {
    const name = crypto.randomUUID()
    const [here, there] = [new BroadcastChannel(name), new BroadcastChannel(name)]
    const heardHere: unknown[] = []
    here.addEventListener('message', event => heardHere.push(event.data))
    const heardThere = new Promise(resolve => {
      there.addEventListener('message', event => resolve(event.data), { once: true })
    })
    here.postMessage('hello')
    expect(await heardThere).toBe('hello')
    expect(heardHere).toEqual([])
    here.close()
    there.close()
  })

  test('Web Storage, WebCrypto and a secure context are there', async () => {
    localStorage.setItem('latchkey-test', 'kept')
    expect(localStorage.getItem('latchkey-test')).toBe('kept')
    localStorage.removeItem('latchkey-test')
    expect(isSecureContext).toBe(true)
    expect(crypto.subtle).toBeInstanceOf(SubtleCrypto)
  })
})

test('a secret printed in the browser is seen, also inside an error', () => {
  console.log({ token: secret('browser') })
  console.error(new Error('failed', { cause: new Error(secret('cause')) }))
  expect(takeLeaks()).toHaveLength(2)
})
