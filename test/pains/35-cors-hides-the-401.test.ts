import { chromium } from 'playwright'
import { expect, inject, it, onTestFinished } from 'vitest'
import { bundle, html } from '../fetch/page.ts'
import { access, listen } from '../fetch/server.ts'

it('pain 35: an API whose 401 lacks CORS headers is never asked with an expired token, so that no network error shows', async () => {
  const cors = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': 'authorization' }
  const api = await listen(({ method, headers }, response) => {
    if (method === 'OPTIONS') return response.writeHead(204, cors).end()
    const isGood = headers.authorization === `Bearer ${access(2)}`
    return isGood ? response.writeHead(200, cors) : response.writeHead(401) // as nginx without `always` does
  })
  const script = await bundle()
  const pages = await listen(({ path, headers: { host } }, response) => {
    const type = path === '/latchkey.js' ? 'text/javascript' : 'text/html'
    response.setHeader('Content-Type', type).end(path === '/latchkey.js' ? script : html(`http://${host}`))
  })
  const browser = await chromium.launch(inject('chromium'))
  onTestFinished(() => browser.close())
  const page = await browser.newPage()
  await page.goto(`${pages.origin}/`)
  const call = (agoMs: number) =>
    page.evaluate(
      async ([url, one, two, agoMs]) => {
        const session = latchkey.createSession({ resources: url, grant: async () => ({ access_token: two }) })
        await session.adopt(
          { access_token: one, refresh_token: 'r', expires_in: 60 },
          { obtainedAtMs: Date.now() - agoMs },
        )
        return session.fetch(url).then(
          ({ status }) => status,
          ({ name }) => name,
        )
      },
      [api.origin, access(1), access(2), agoMs] as const,
    )
  expect(await call(61_000)).toBe(200)
  expect(api.seen.filter(({ method }) => method === 'GET')).toMatchObject([
    { headers: { authorization: `Bearer ${access(2)}` } },
  ])
  // What it would look like: a fresh token that the server does not like any more.
  expect(await call(0)).toBe('TypeError')
})
