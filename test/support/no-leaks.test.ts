import { describe, expect, test } from 'vitest'
import { canary, secret, takeLeaks } from './no-leaks.ts'

describe('a secret is seen when it is printed', () => {
  test.each([
    ['as text', () => console.log(`the token is ${secret('text')}`)],
    ['by console.error', () => console.error(secret('error'))],
    ['by console.table', () => console.table([{ token: secret('table') }])],
    ['deep in an object', () => console.info({ a: { b: { c: { d: { e: [secret('deep')] } } } } })],
    ['in the cause of an error', () => console.warn(new Error('failed', { cause: new Error(secret('cause')) }))],
    ['straight to stdout', () => process.stdout.write(`${secret('stdout')}\n`)],
    ['as bytes to stderr', () => process.stderr.write(new TextEncoder().encode(`${secret('bytes')}\n`))],
  ])('%s', (_, print) => {
    print()
    expect(takeLeaks()).toEqual([expect.stringContaining(canary)])
  })
})

test('other output is let through', () => {
  console.log('renewed', { status: 'signed-in' })
  expect(takeLeaks()).toEqual([])
})

test.fails('a test that prints a secret fails', () => {
  console.log(secret('printed'))
})
