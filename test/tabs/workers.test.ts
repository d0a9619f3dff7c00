import { type Browser, type BrowserContext, chromium, type Page } from 'playwright'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import { createTabServer, type TabServer } from './tab-server.ts'

let browser: Browser
let server: TabServer
let context: BrowserContext

beforeAll(async () => {
  browser = await chromium.launch(inject('chromium'))
})
afterAll(() => browser.close())
beforeEach(async () => {
  server = await createTabServer()
  context = await browser.newContext()
})
afterEach(async () => {
  await context.close()
  await server.close()
})

async function openTab(): Promise<Page> {
  const page = await context.newPage()
  await page.goto(`${server.origin}/?storage=indexed-db`)
  await page.waitForFunction(() => 'call' in globalThis)
  return page
}

type Ask = (
  worker: { postMessage(message: unknown, transfer: Transferable[]): void },
  what: 'call' | 'born',
) => Promise<number | string>

/** A page that is signed in, with a dedicated worker and a service worker that controls it, and one more page. */
async function openAll() {
  const [page, other] = [await openTab(), await openTab()]
  await page.evaluate(async () => {
    await session.adopt(await (await fetch('/sign-in')).json())
    const controlled = new Promise(resolve => navigator.serviceWorker.addEventListener('controllerchange', resolve))
    await navigator.serviceWorker.register('/service-worker.js', { type: 'module' })
    await controlled
    const ask: Ask = (worker, what) =>
      new Promise(resolve => {
        const { port1, port2 } = new MessageChannel()
        port1.onmessage = ({ data }) => resolve(data)
        worker.postMessage(what, [port2])
      })
    const worker = new Worker('/indexed-db-worker.js', { type: 'module' })
    Object.assign(globalThis, {
      callWorker: () => ask(worker, 'call'),
      callServiceWorker: async () => ask((await navigator.serviceWorker.ready).active as ServiceWorker, 'call'),
      bornServiceWorker: async () => ask((await navigator.serviceWorker.ready).active as ServiceWorker, 'born'),
    })
  })
  const callIn = (tab: Page) => tab.evaluate(() => globalThis.call())
  const inPage = (name: string) =>
    page.evaluate(each => (globalThis as unknown as Record<string, () => Promise<number | string>>)[each]?.(), name)
  return {
    page,
    other,
    pages: () => Promise.all([callIn(page), callIn(other)]),
    worker: () => inPage('callWorker'),
    serviceWorker: () => inPage('callServiceWorker'),
    /** Another one for each run of the service worker. */
    serviceWorkerRun: () => inPage('bornServiceWorker'),
    /** A plain fetch of the page that the service worker answers. */
    throughServiceWorker: () => page.evaluate(async () => (await fetch('/through-worker')).text()),
    /** As the browser does it by itself: a service worker without anything to do is ended. */
    async stopServiceWorker() {
      const devtools = await context.newCDPSession(page)
      await devtools.send('ServiceWorker.enable')
      await devtools.send('ServiceWorker.stopAllWorkers')
      await devtools.detach()
    },
  }
}

describe('a service worker, a dedicated worker and two pages on one sign-in', () => {
  it('pain 59: make one token call per expiry, 20 expiries long, whoever finds it', async () => {
    const { pages, worker, serviceWorker, throughServiceWorker } = await openAll()
    for (let round = 1; round <= 20; round++) {
      server.expireAccess()
      const answers = await Promise.all([serviceWorker(), worker(), throughServiceWorker(), pages()])
      expect(answers.flat().map(Number)).toEqual([200, 200, 200, 200, 200])
      expect(server.stats).toMatchObject({ tokenCalls: round, refused: 0 })
    }
  }, 60_000)

  it('pain 59: a service worker that was stopped reads what is stored before its first request', async () => {
    const { pages, serviceWorker, serviceWorkerRun, throughServiceWorker, stopServiceWorker } = await openAll()
    expect(await serviceWorker()).toBe(200)
    const runs = new Set([await serviceWorkerRun()])
    server.expireAccess()
    await stopServiceWorker()
    // Renewed while it was gone.
    expect(await pages()).toEqual([200, 200])
    expect(server.stats.tokenCalls).toBe(1)
    const before = server.stats.apiCalls
    expect(await throughServiceWorker()).toBe('200')
    expect(server.stats).toMatchObject({ tokenCalls: 1, apiCalls: before + 1 })
    runs.add(await serviceWorkerRun())
    await stopServiceWorker()
    server.expireAccess()
    expect(await throughServiceWorker()).toBe('200')
    expect(await pages()).toEqual([200, 200])
    expect(server.stats).toMatchObject({ tokenCalls: 2, refused: 0 })
    expect(runs.add(await serviceWorkerRun()).size).toBe(3)
  }, 30_000)

  it('pain 59: a page that a hard reload left without its service worker works all the same', async () => {
    const { page, serviceWorker } = await openAll()
    expect(await serviceWorker()).toBe(200)
    const devtools = await context.newCDPSession(page)
    await Promise.all([page.waitForEvent('load'), devtools.send('Page.reload', { ignoreCache: true })])
    await page.waitForFunction(() => 'call' in globalThis)
    expect(await page.evaluate(() => navigator.serviceWorker.controller)).toBeNull()
    server.expireAccess()
    expect(await page.evaluate(() => globalThis.call())).toBe(200)
    expect(server.stats).toMatchObject({ tokenCalls: 1, refused: 0 })
  }, 30_000)

  it('pain 43: a sign-out in a page is one in both workers, also in one that was stopped meanwhile', async () => {
    const { page, pages, worker, serviceWorker, stopServiceWorker } = await openAll()
    expect(await Promise.all([serviceWorker(), worker()])).toEqual([200, 200])
    await page.evaluate(() => session.signOut())
    await expect.poll(serviceWorker, { timeout: 1000 }).toBe('signed_out')
    await expect.poll(worker, { timeout: 1000 }).toBe('signed_out')
    const { apiCalls } = server.stats
    await stopServiceWorker()
    expect(await serviceWorker()).toBe('signed_out')
    expect(await pages()).toEqual(['signed_out', 'signed_out'])
    expect(server.stats.apiCalls).toBe(apiCalls)
  }, 30_000)
})
