import { once } from 'node:events'
import { parseArgs } from 'node:util'
import pc from 'picocolors'
import { runClient, type Tone } from './client.ts'
import { createOAuthDemo } from './oauth/app.ts'
import { createPageServer } from './page-server.ts'
import { createServer } from './server/server.ts'

const { values } = parseArgs({ options: { once: { type: 'boolean', default: false } } })
const lifetimeMs = 2000

const colours: Record<Tone, (text: string) => string> = {
  plain: pc.dim,
  good: pc.green,
  bad: pc.red,
  news: pc.yellow,
  fault: pc.magenta,
}
const marks: Record<Tone, string> = { plain: ' ', good: '✓', bad: '✗', news: '↻', fault: '!' }
const started = performance.now()
const tell = (tone: Tone, text: string) => {
  const seconds = ((performance.now() - started) / 1000).toFixed(2).padStart(6)
  console.log(`${pc.dim(`${seconds} s`)}  ${colours[tone](`${marks[tone]} ${text}`)}`)
}

const config: { api?: string; user?: object; lifetimeMs: number } = { lifetimeMs }
const page = await createPageServer({ port: 5173, config: () => config })
const server = await createServer({
  port: 8787,
  allowedOrigins: [page.origin],
  accessTokenTtlMs: lifetimeMs,
  reuseWindowMs: 10_000,
  seed: true,
})
if (!server.demoUser) throw new Error('The server was asked to make a demo user and made none.')
Object.assign(config, { api: server.origin, user: server.demoUser })

tell('plain', `API at ${server.origin}, tokens live ${lifetimeMs / 1000} s`)
const tally = await runClient(server, server.demoUser, tell)
for (const sentence of tally.wrong) tell('bad', sentence)
const { requests, ok, failed, renewals, rotations, resends, durationMs } = tally
const isGood = failed === 0 && tally.wrong.length === 0
const summary = `demo: requests=${requests} ok=${ok} failed=${failed} renewals=${renewals} rotations=${rotations} resends=${resends} duration_ms=${durationMs}`

if (!values.once) {
  const oauth = await createOAuthDemo({ port: 5174 })
  console.log(summary)
  console.log(`\nThe same in a browser: ${pc.bold(page.origin)}   (API docs: ${server.origin}/docs)   Ctrl-C ends.`)
  console.log(`Sign in with OAuth, DPoP and a consent page: ${pc.bold(oauth.origin)}`)
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
  await oauth.close()
}
await page.close()
await server.close()
process.exitCode = isGood ? 0 : 1
if (values.once) console.log(summary)
