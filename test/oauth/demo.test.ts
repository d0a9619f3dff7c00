import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { type Browser, chromium, type Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { createOAuthDemo, type OAuthDemo } from '../../demo/oauth/app.ts'
import { createUser } from './user.ts'

let browser: Browser
let demo: OAuthDemo

vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 })

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
  const hosts = new Set<string>()
  page.on('request', request => hosts.add(new URL(request.url()).hostname))
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
  expect(await page.isVisible('#redirect')).toBe(false)
  await page.click('#end')
  await page.click('button[value=yes]')
  await page.waitForURL(`${demo.origin}/`)
  await page.waitForSelector('#redirect')
  expect(await page.isVisible('#call')).toBe(false)
  await page.click('#silent')
  await says(page, 'login_required')
  expect([...hosts]).toEqual(['127.0.0.1'])
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

describe('npm run demo:cli', () => {
  const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url))
  const script = path('node_modules/.cache/demo-cli.mjs')

  beforeAll(async () => {
    const sdk = Object.fromEntries(
      [...['node', 'oauth'].map(entry => [`latchkey/${entry}`, entry]), ['latchkey', 'index']].map(([name, entry]) => [
        name,
        path(`src/${entry}.ts`),
      ]),
    )
    await build({
      entryPoints: [path('demo/oauth/cli.ts')],
      outfile: script,
      alias: sdk,
      packages: 'external',
      bundle: true,
      platform: 'node',
      format: 'esm',
      logLevel: 'error',
    })
  })

  function start(...how: string[]) {
    const child = spawn(process.execPath, [script, ...how], {
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', text => {
        output += text
      })
    }
    return {
      ended: once(child, 'exit'),
      interrupt: () => child.kill('SIGINT'),
      output: () => output,
      says: (what: RegExp) => vi.waitUntil(() => what.exec(output), { timeout: 10_000 }),
    }
  }

  test('loopback signs in, calls and signs out', async () => {
    const cli = start('loopback', '--no-browser')
    const [, url = ''] = await cli.says(/Open (\S+)\n/)
    const redirectUri = new URL(url).searchParams.get('redirect_uri') ?? ''
    await fetch(await createUser({ redirectUri }).visit(url))
    expect(await cli.ended).toEqual([0, null])
    expect(cli.output()).toMatch(/Signed in as ada\.\nThe API answers 200: .*"ada".*\nSigned out\./)
  })

  test('device shows a QR code and what to type, and Ctrl-C ends it', async () => {
    const cli = start('device')
    await cli.says(/█.*Go to \S+ and type [A-Z]{4}-[A-Z]{4}\n/s)
    cli.interrupt()
    expect(await cli.ended).toEqual([1, null])
    expect(cli.output()).toContain('Interrupted.')
  })
})
