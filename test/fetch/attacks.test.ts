import { type Browser, chromium, type Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { createSession } from '../../src/index.ts'
import { attacks, same } from './attacks.ts'
import { bundle, html } from './page.ts'
import { tokens } from './server.ts'

const resources = 'https://api.example.com'

describe('15: in Node the token does not go out', () => {
  /** What left, as the platform parses it; the wire is a function. */
  async function send(url: string) {
    const sent: { origin: string; authorization: string | null }[] = []
    let renewals = 0
    const session = createSession({
      resources,
      grant: async () => {
        renewals++
        return tokens(2)
      },
      fetch: (async (input: string, init?: RequestInit) => {
        const request = new Request(input, init)
        const { protocol, host } = new URL(request.url)
        sent.push({ origin: `${protocol}//${host}`, authorization: request.headers.get('authorization') })
        return new Response('', { status: 401 })
      }) as typeof fetch,
    })
    await session.adopt(tokens(1), { obtainedAtMs: Date.now() - 600_000 })
    await session.fetch(url).catch(error => expect(error).toBeInstanceOf(TypeError))
    return { sent, renewals }
  }

  it.each(attacks)('to %j: %s; its 401 renews nothing', async url => {
    const { sent, renewals } = await send(url)
    expect(sent.filter(({ authorization }) => authorization !== null)).toEqual([])
    expect(sent.filter(({ origin }) => origin === resources)).toEqual([])
    expect(renewals).toBe(0)
  })

  it.each(same.filter(([url]) => !url.startsWith('//')))('but it does to %j: %s', async url => {
    const { sent } = await send(url)
    expect(sent).toEqual(
      [1, 2].map(number => ({ origin: resources, authorization: `Bearer ${tokens(number).access_token}` })),
    )
  })
})

describe('15: in Chromium the token does not go out', () => {
  let browser: Browser
  let page: Page
  let sent: { url: string; authorization: string | undefined }[] = []
  let base = ''

  beforeAll(async () => {
    const script = await bundle()
    browser = await chromium.launch(inject('chromium'))
    const context = await browser.newContext()
    // Every host there is: the page at app.example.com, and all that anybody calls, with CORS that lets everything in.
    await context.route('**', async route => {
      const request = route.request()
      const url = request.url()
      if (url === 'https://app.example.com/latchkey.js') {
        return route.fulfill({ contentType: 'text/javascript', body: script })
      }
      if (url === 'https://app.example.com/page') {
        return route.fulfill({ contentType: 'text/html', body: html('https://app.example.com', base) })
      }
      sent.push({ url, authorization: (await request.allHeaders()).authorization })
      const headers = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': 'authorization' }
      return route.fulfill({ status: 200, headers, body: 'ok' })
    })
    page = await context.newPage()
  })
  afterAll(() => browser.close())

  async function visit(baseTag = ''): Promise<void> {
    base = baseTag
    await page.goto('https://app.example.com/page')
  }

  /** Calls with a session for these resources; resolves with what went out over the network. */
  async function call(url: string, own: string = resources) {
    sent = []
    const token = tokens(1)
    const outcome = await page.evaluate(
      async ([url, own, token]) => {
        const session = latchkey.createSession({ resources: own, grant: async () => token })
        await session.adopt(token)
        return session.fetch(url).then(
          (response: Response) => response.status,
          (error: Error) => error.name,
        )
      },
      [url, own, token] as const,
    )
    return { outcome, sent }
  }

  it(`to any of the ${attacks.length} of the table`, async () => {
    await visit()
    for (const [url, why] of attacks) {
      const { sent } = await call(url)
      const attached = sent.filter(({ authorization }) => authorization !== undefined)
      expect(attached, `${url}: ${why}`).toEqual([])
    }
  }, 30_000)

  it('but it does to the API, however it is written', async () => {
    await visit()
    for (const [url, why] of same) {
      const { outcome, sent } = await call(url)
      expect([outcome, sent.at(-1)], why).toEqual([
        200,
        { url: 'https://api.example.com/items', authorization: `Bearer ${tokens(1).access_token}` },
      ])
    }
  })

  it('to a relative URL under a foreign <base>, which the platform resolves there', async () => {
    await visit('<base href="https://evil.test/">')
    for (const url of ['/items', 'items', './api.example.com/', '?a']) {
      const { outcome, sent } = await call(url)
      expect(outcome).toBe(200)
      expect(sent).toEqual([{ url: new URL(url, 'https://evil.test/').href, authorization: undefined }])
    }
  })

  it('and a relative resource under a <base> is where the platform sends its relative URLs', async () => {
    await visit('<base href="https://api.example.com/v1/">')
    const { sent } = await call('items', './')
    expect(sent.at(-1)).toEqual({
      url: 'https://api.example.com/v1/items',
      authorization: `Bearer ${tokens(1).access_token}`,
    })
    expect((await call('/admin', './')).sent.at(-1)?.authorization).toBe(undefined)
    expect((await call('https://app.example.com/items', './')).sent.at(-1)?.authorization).toBe(undefined)
  })

  it('to a blob of its own, which it reads as the platform does', async () => {
    await visit()
    const text = await page.evaluate(async resource => {
      const session = latchkey.createSession({
        resources: [resource, location.origin],
        grant: async () => ({ access_token: 'a' }),
      })
      await session.adopt({ access_token: 'a' })
      const url = URL.createObjectURL(new Blob(['from a blob']))
      const texts = [await session.fetch(url), await session.fetch('data:text/plain,data')]
      return Promise.all(texts.map((response: Response) => response.text()))
    }, resources)
    expect(text).toEqual(['from a blob', 'data'])
  })
})
