import { expect, test } from 'vitest'

test('the simulated document has Web Storage, and no Web Locks', () => {
  sessionStorage.setItem('latchkey-test', 'kept')
  expect(sessionStorage.getItem('latchkey-test')).toBe('kept')
  expect(document.visibilityState).toBe('visible')
  // An `in` or `typeof` check would take it for a lock manager.
  expect(typeof navigator.locks).toBe('object')
  expect(navigator.locks).toBeNull()
})
