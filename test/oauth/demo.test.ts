import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { createOAuthDemo, type OAuthDemo } from '../../demo/oauth/app.ts'

let browser: Browser
let demo: OAuthDemo

beforeAll(async () => {
  browser = await chromium.launch(inject('chromium'))
  demo = await createOAuthDemo({ sdk: entry => fileURLToPath(new URL(`../../src/${entry}.ts`, import.meta.url)) })
})
afterAll(async () => {
  await browser.close()
  await demo.close()
})

const says = (page: Page, text: string) => page.locator('#log li', { hasText: text }).first().waitFor()

test('the page signs in by redirect with consent, calls, renews, and a stolen token gets nothing', async () => {
  const page = await browser.newPage()
  await page.goto(demo.origin)
  await page.click('#redirect')
  await page.click('#yes')
  await page.waitForSelector('h1:has-text("Allow")')
  await page.click('#yes')
  await says(page, 'back from the authorization server')
  expect(page.url()).toBe(`${demo.origin}/callback`)
  expect(await page.textContent('#status')).toBe('Signed in as ada.')
  await page.click('#call')
  await says(page, '"sub":"ada"')
  await page.click('#renew')
  await says(page, 'renewed')
  await page.click('#steal')
  await says(page, 'the API answers 401')
  await page.click('#sign-out')
  await page.waitForSelector('#signed-out:not([hidden])')
  await page.context().close()
})

test('the page signs in by popup', async () => {
  const page = await browser.newPage()
  await page.goto(demo.origin)
  const [shown] = await Promise.all([page.waitForEvent('popup'), page.click('#popup')])
  await shown.click('#yes')
  await shown.waitForSelector('h1:has-text("Allow")')
  await Promise.all([shown.waitForEvent('close'), shown.click('#yes')])
  await says(page, 'sign-in by popup')
  await page.click('#call')
  await says(page, '"sub":"ada"')
  await page.context().close()
})
