import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import { createPageServer, type PageServer } from '../../demo/page-server.ts'
import { createServer, type DemoServer } from '../../demo/server/server.ts'

const sdk = fileURLToPath(new URL('../../src/index.ts', import.meta.url))
const lifetimeMs = 2000

let browser: Browser
let server: DemoServer
let site: PageServer
let page: Page

beforeAll(async () => {
  browser = await chromium.launch(inject('chromium'))
})
afterAll(() => browser.close())

beforeEach(async () => {
  const config: Record<string, unknown> = { lifetimeMs }
  site = await createPageServer({ sdk, config: () => config })
  server = await createServer({ port: 0, allowedOrigins: [site.origin], accessTokenTtlMs: lifetimeMs, seed: true })
  Object.assign(config, { api: server.origin, user: server.demoUser })
  page = await (await browser.newContext()).newPage()
})
afterEach(async () => {
  await page.context().close()
  await Promise.all([site.close(), server.close()])
})

async function signIn(): Promise<void> {
  await page.goto(site.origin)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('button', { name: 'Call once' }).waitFor()
}

const callTwenty = () => page.getByRole('button', { name: 'Call twenty times at once' }).click()
const answered = (count: number) => page.locator('#total-ok', { hasText: new RegExp(`^${count}$`) }).waitFor()
const total = (name: string) => page.locator(`#total-${name}`).textContent()
const expired = () => page.getByText('expired: the next call renews').waitFor()

describe('the page, in Chromium, on another origin than the API', () => {
  it('gets 20 answers from 20 calls at once on an expired token, and the server sees one renewal', async () => {
    await signIn()
    await expired()
    const before = server.stats().renewals
    await callTwenty()
    await answered(20)
    expect(server.stats().renewals - before).toBe(1)
    expect(await total('failed')).toBe('0')
    expect(server.stats().reuses).toBe(0)
  })

  it('is still signed in after a reload', async () => {
    await signIn()
    await page.reload()
    await callTwenty()
    await answered(20)
    expect(server.stats().signIns).toBe(1)
  })

  it('spends one renewal on eight hours of sleep', async () => {
    await page.clock.install()
    await signIn()
    await page.clock.fastForward('08:00:00')
    const before = server.stats().renewals
    await callTwenty()
    await answered(20)
    expect(server.stats().renewals - before).toBe(1)
    expect(await total('failed')).toBe('0')
  })

  it('signs out, and a reload stays signed out', async () => {
    await signIn()
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('button', { name: 'Sign in' }).waitFor()
    await page.reload()
    await page.getByRole('button', { name: 'Sign in' }).waitFor()
    expect(await page.evaluate(() => JSON.stringify(sessionStorage))).not.toContain('accessToken')
  })
})
