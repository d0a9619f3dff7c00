import { type Browser, type BrowserContext, chromium, type Frame, type Page } from 'playwright'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import { createTabServer, type TabServer } from './tab-server.ts'

/** What the page of the tab server puts on its global. */
declare global {
  var session: import('../../src/index.ts').Session
  var call: () => Promise<number | string>
  var events: [type: string, detail: string][]
}

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

async function openTab(query = ''): Promise<Page> {
  const page = await context.newPage()
  await page.goto(server.origin + query)
  await page.waitForFunction(() => 'call' in globalThis)
  return page
}

const signIn = (page: Page) => page.evaluate(async () => session.adopt(await (await fetch('/sign-in')).json()))
const callIn = (page: Page) => page.evaluate(() => globalThis.call())
const callAll = (tabs: Page[]) => Promise.all(tabs.map(callIn))
const statuses = (tabs: Page[]) => Promise.all(tabs.map(tab => tab.evaluate(() => session.state.status)))
const eventsOf = async (tabs: Page[]) => (await Promise.all(tabs.map(tab => tab.evaluate(() => events)))).flat()

async function openTabs(count: number): Promise<Page[]> {
  const first = await openTab()
  await signIn(first)
  return [first, ...(await Promise.all(Array.from({ length: count - 1 }, () => openTab())))]
}

describe('ten tabs on one localStorage', () => {
  it('pain 3: make exactly one token call per expiry, 100 expiries long, and nobody is signed out', async () => {
    const tabs = await openTabs(10)
    for (let round = 1; round <= 100; round++) {
      server.expireAccess()
      expect(await callAll(tabs)).toEqual(Array(10).fill(200))
      expect(server.stats.tokenCalls).toBe(round)
    }
    expect(await eventsOf(tabs)).toEqual([])
  }, 120_000)

  it.each([
    ['Web Locks', ['locks']],
    ['BroadcastChannel', ['channel']],
    ['both', ['locks', 'channel']],
  ])(
    'pain 3: without %s a loser adopts what the winner got, and nobody is signed out',
    async (_name, missing) => {
      await context.addInitScript(names => {
        if (names.includes('locks')) Object.defineProperty(navigator, 'locks', { value: undefined })
        if (names.includes('channel')) Reflect.deleteProperty(globalThis, 'BroadcastChannel')
      }, missing)
      const tabs = await openTabs(10)
      for (let round = 1; round <= 20; round++) {
        server.expireAccess()
        expect(await callAll(tabs)).toEqual(Array(10).fill(200))
        if (!missing.includes('locks')) expect(server.stats.tokenCalls).toBe(round)
      }
      expect(await statuses(tabs)).toEqual(Array(10).fill('signed-in'))
      expect((await eventsOf(tabs)).filter(([type]) => type === 'signed-out')).toEqual([])
    },
    120_000,
  )

  it('pain 43: a sign-out in one tab is a sign-out in all of them, and a reload stays signed out', async () => {
    const tabs = await openTabs(3)
    await tabs[0]?.evaluate(() => session.signOut())
    for (const tab of tabs)
      await tab.waitForFunction(() => session.state.status === 'signed-out', null, { timeout: 1000 })
    await tabs[1]?.reload()
    await tabs[1]?.waitForFunction(() => 'call' in globalThis)
    expect(await callIn(tabs[1] as Page)).toBe('signed_out')
  })

  it.each([
    ['closed', (tab: Page) => tab.close()],
    ['navigated away', (tab: Page) => tab.goto('about:blank')],
  ])(
    'pain 4: a tab that is %s in the middle of a renewal leaves the others a token, inside a reuse window',
    async (_how, leave) => {
      const tabs = await openTabs(3)
      server.delayTokensMs = 300
      server.hasReuseWindow = true
      server.expireAccess()
      const [lost, ...others] = tabs as [Page, Page, Page]
      void callIn(lost).catch(() => undefined)
      await expect.poll(() => server.stats.tokenCalls).toBe(1)
      await leave(lost)
      expect(await callAll(others)).toEqual([200, 200])
      expect(server.stats).toMatchObject({ tokenCalls: 2, refused: 0 })
    },
    30_000,
  )

  // Chromium freezes hidden pages only, and headless ones are always visible: the debugger stops a page as thoroughly.
  it('pain 4: a tab that stands still while it holds the lock costs the others their bound, and does not bring old tokens back', async () => {
    const tabs = await openTabs(3)
    server.delayTokensMs = 500
    server.hasReuseWindow = true
    server.expireAccess()
    const [frozen, ...others] = tabs as [Page, Page, Page]
    const devtools = await context.newCDPSession(frozen)
    await devtools.send('Debugger.enable')
    const paused = new Promise(resolve => devtools.once('Debugger.paused', resolve))
    const late = callIn(frozen).catch(() => undefined)
    await expect.poll(() => server.stats.tokenCalls).toBe(1)
    await devtools.send('Debugger.pause')
    await paused
    // Past the answer that it can not take.
    await new Promise(resolve => setTimeout(resolve, 600))
    const held = () => others[0]?.evaluate(async () => (await navigator.locks.query()).held?.length)
    expect(await held()).toBe(1)
    expect(await callAll(others)).toEqual([200, 200])
    expect(server.stats).toMatchObject({ tokenCalls: 2, refused: 0 })
    const stored = await others[0]?.evaluate(() => localStorage.getItem('latchkey:tabs'))
    await devtools.send('Debugger.resume')
    // Its time was over when it woke up, or its answer came first.
    expect([200, 'unreachable']).toContain(await late)
    expect(await callAll(tabs)).toEqual([200, 200, 200])
    expect(await frozen.evaluate(() => localStorage.getItem('latchkey:tabs'))).toBe(stored)
    expect(server.stats).toMatchObject({ tokenCalls: 2, refused: 0 })
    expect(await statuses(tabs)).toEqual(Array(3).fill('signed-in'))
    expect(await held()).toBe(0)
  }, 60_000)

  it('pain 43: a tab that stood still during a sign-out, or the sign-in of another user, sends nothing of the old session afterwards', async () => {
    for (const what of ['sign-out', 'sign-in'] as const) {
      const [frozen, other] = (await openTabs(2)) as [Page, Page]
      const devtools = await context.newCDPSession(frozen)
      await devtools.send('Debugger.enable')
      const paused = new Promise(resolve => devtools.once('Debugger.paused', resolve))
      await devtools.send('Debugger.pause')
      const late = callIn(frozen)
      await paused
      const { apiCalls } = server.stats
      await (what === 'sign-in' ? signIn(other) : other.evaluate(() => session.signOut()))
      await devtools.send('Debugger.resume')
      // It began before it knew; the token it has is the old one, and the API knows the newest only.
      expect([200, 'signed_out']).toContain(await late)
      await expect.poll(() => callIn(frozen), { timeout: 1000 }).toBe(what === 'sign-in' ? 200 : 'signed_out')
      if (what === 'sign-out') expect(server.stats.apiCalls - apiCalls).toBeLessThanOrEqual(1)
      await frozen.close()
      await other.close()
    }
  }, 60_000)
})

describe('other ends of a tab', () => {
  it('pain 4: a tab that crashes in the middle of a renewal leaves the others a token, inside a reuse window', async () => {
    const tabs = await openTabs(2)
    server.delayTokensMs = 300
    server.hasReuseWindow = true
    server.expireAccess()
    const [lost, other] = tabs as [Page, Page]
    void callIn(lost).catch(() => undefined)
    await expect.poll(() => server.stats.tokenCalls).toBe(1)
    const devtools = await context.newCDPSession(lost)
    void devtools.send('Page.crash').catch(() => undefined)
    await lost.waitForEvent('crash')
    expect(await callIn(other)).toBe(200)
    expect(server.stats).toMatchObject({ tokenCalls: 2, refused: 0 })
  }, 30_000)

  it('pain 2: offline is no sign-out: the call says unreachable, and back online the next one renews', async () => {
    const tab = (await openTabs(1))[0] as Page
    await tab.evaluate(() => session.getAccessToken())
    await context.setOffline(true)
    expect(await tab.evaluate(() => session.renew().catch(error => error.code))).toBe('unreachable')
    expect(await tab.evaluate(() => session.state.status)).toBe('signed-in')
    await context.setOffline(false)
    server.expireAccess()
    await tab.waitForFunction(() => navigator.onLine)
    expect(await callIn(tab)).toBe(200)
  }, 30_000)

  it('pain 59: a dedicated worker and pages share the lock and the record: one token call an expiry', async () => {
    const tabs = await openTabs(2)
    const host = tabs[0] as Page
    await host.evaluate(() => {
      const worker = new Worker('/worker.js', { type: 'module' })
      const answers: ((answer: number | string) => void)[] = []
      worker.onmessage = ({ data }) => {
        if (data.call) {
          const [method, ...args] = data.call as ['getItem', string]
          worker.postMessage({ id: data.id, value: localStorage[method](...args) })
        } else answers.shift()?.(data.answer)
      }
      Object.assign(globalThis, {
        callWorker: () =>
          new Promise(resolve => {
            answers.push(resolve)
            worker.postMessage('call')
          }),
      })
    })
    const callWorker = () =>
      host.evaluate(() => (globalThis as unknown as { callWorker(): Promise<number> }).callWorker())
    for (let round = 1; round <= 10; round++) {
      server.expireAccess()
      expect(await Promise.all([callWorker(), ...tabs.map(callIn)])).toEqual([200, 200, 200])
      expect(server.stats.tokenCalls).toBe(round)
    }
  }, 30_000)
})

describe('a duplicated tab with its own copy of sessionStorage', () => {
  it('pain 3: never spends the refresh token that the other tab spent', async () => {
    const first = await openTab('/?storage=session')
    await signIn(first)
    const [popup] = await Promise.all([context.waitForEvent('page'), first.evaluate(() => void open(location.href))])
    await popup.waitForFunction(() => 'call' in globalThis && session.state.status === 'signed-in')
    for (let round = 1; round <= 5; round++) {
      server.expireAccess()
      expect(await callAll(round % 2 ? [first, popup] : [popup, first])).toEqual([200, 200])
      expect(server.stats).toMatchObject({ tokenCalls: round, refused: 0 })
    }
  }, 60_000)
})

describe('a sandboxed frame, where storage and locks throw', () => {
  it('pain 39: signs in and renews all the same, in memory, and says so', async () => {
    const page = await context.newPage()
    await page.goto(`${server.origin}/framed`)
    const frame = page.frames()[1] as Frame
    await frame.waitForFunction(() => 'call' in globalThis)
    const thrown = await frame.evaluate(() => {
      try {
        return String(localStorage)
      } catch (error) {
        return (error as Error).name
      }
    })
    expect(thrown).toBe('SecurityError')
    await frame.evaluate(async () => session.adopt(await (await fetch('/sign-in')).json()))
    for (let round = 1; round <= 3; round++) {
      server.expireAccess()
      const calls = frame.evaluate(() => Promise.all([globalThis.call(), globalThis.call(), globalThis.call()]))
      expect(await calls).toEqual([200, 200, 200])
      expect(server.stats).toMatchObject({ tokenCalls: round, refused: 0 })
    }
    const events = await frame.evaluate(() => globalThis.events)
    expect(events).toContainEqual(['degraded', 'storage'])
    expect(events.filter(([type]) => type !== 'degraded')).toEqual([])
  }, 30_000)
})
