import { chromium } from 'playwright'
import { expect, inject, test } from 'vitest'
import { findChromium } from './chromium.ts'

test('a test in Node drives the same browser, with several tabs in one context', async () => {
  await using browser = await chromium.launch(inject('chromium'))
  const context = await browser.newContext()
  await context.route('**', route => route.fulfill({ contentType: 'text/html', body: '<title>Tab</title>' }))
  const [first, second] = [await context.newPage(), await context.newPage()]
  await first.goto('http://localhost/')
  await second.goto('http://localhost/')

  await first.evaluate(() => localStorage.setItem('seen', 'by both'))
  expect(await second.evaluate(() => localStorage.getItem('seen'))).toBe('by both')
})

test('a wrong CHROMIUM_PATH is an error, not a skip', async () => {
  await expect(findChromium({ CHROMIUM_PATH: '/no/such/chromium' })).rejects.toThrow(/CHROMIUM_PATH is \/no\/such/)
})
