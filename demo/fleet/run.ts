// npm run demo:fleet: eight processes share one session, one of them is killed every second, and no request fails.
import { type ChildProcess, fork, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createSession } from 'latchkey'
import pc from 'picocolors'
import { createFleetServer } from './server.ts'
import { openStorage, type Place } from './storage.ts'
import type { Report } from './worker.ts'

const { values } = parseArgs({ options: { once: { type: 'boolean', default: false } } })
const processes = 8
const onceMs = 30_000
const lifetimeMs = 3000

interface Row extends Report {
  pid: number
  kills: number
  child: ChildProcess
}

const folder = mkdtempSync(join(tmpdir(), 'latchkey-fleet-'))
const server = await createFleetServer(lifetimeMs)
const redis = await startRedis()
const place: Place = redis ? { redisPort: redis.port } : { file: join(folder, 'credentials') }

const rows: Row[] = []
let requests = 0
let failed = 0
let kills = 0
let isOver = false
const lines: string[] = []
const started = performance.now()

function tell(text: string): void {
  const line = `${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s  ${text}`
  if (process.stdout.isTTY) lines.push(line)
  else console.log(line)
  if (lines.length > 6) lines.shift()
}

function launch(index: number, before?: Row): void {
  const child = fork(
    fileURLToPath(new URL('./worker.ts', import.meta.url)),
    [JSON.stringify({ origin: server.origin, place, index })],
    { execArgv: ['--disable-warning=ExperimentalWarning'] },
  )
  const none = { requests: 0, failed: 0, renewed: 0, adopted: 0, kills: 0 }
  const row: Row = { ...none, ...before, child, pid: child.pid ?? 0 }
  rows[index] = row
  child.on('message', (report: Report) => {
    for (const name of ['requests', 'failed', 'renewed', 'adopted'] as const) row[name] += report[name]
    requests += report.requests
    failed += report.failed
    if (report.failure !== undefined) tell(pc.red(`✗ worker ${index}: ${report.failure}`))
    if (report.renewed) tell(pc.yellow(`↻ worker ${index} renewed`))
  })
  child.on('exit', (_code, signal) => {
    if (isOver) return
    if (signal !== 'SIGKILL') tell(pc.red(`✗ worker ${index} ended by itself`))
    launch(index, row)
  })
}

function kill(): void {
  const index = Math.floor(Math.random() * processes)
  const row = rows[index]
  if (!row) return
  row.kills++
  kills++
  row.child.kill('SIGKILL')
  tell(pc.magenta(`! worker ${index} killed`))
}

const seconds = () => ((performance.now() - started) / 1000).toFixed(0)
function draw(): void {
  const head = ['worker', 'pid', 'requests', 'failed', 'renewed', 'adopted', 'kills']
  const table = [
    head,
    ...rows.map((row, index) =>
      [index, row.pid, row.requests, row.failed, row.renewed, row.adopted, row.kills].map(String),
    ),
  ]
  const text = table.map(cells => cells.map(cell => cell.padStart(9)).join('')).join('\n')
  const where = 'file' in place ? `one file, ${place.file}` : `one Redis, port ${place.redisPort}`
  process.stdout.write(
    `\x1b[H\x1b[2J${pc.bold(`${processes} processes, one session, ${where}`)}   ${seconds()} s\n` +
      `tokens live ${lifetimeMs / 1000} s   requests ${requests}   failed ${failed}   expiries ${Math.max(server.stats.expiries, 0)}   renewals ${server.stats.renewals}   kills ${kills}\n\n` +
      `${text}\n\n${lines.join('\n')}\n`,
  )
}

tell('file' in place ? 'no redis-server here: the fleet shares one file' : `redis-server on port ${place.redisPort}`)
const own = createSession({
  resources: server.origin,
  name: 'fleet',
  grant: async () => server.signIn() as { access_token: string },
  storage: await openStorage(place, 0),
})
await own.adopt(server.signIn() as { access_token: string })
own.dispose()
for (let index = 0; index < processes; index++) launch(index)

const timers = [setInterval(kill, 1000), setInterval(() => process.stdout.isTTY && draw(), 200)]
await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM'), ...(values.once ? [wait(onceMs)] : [])])

isOver = true
for (const timer of timers) clearInterval(timer)
await Promise.all(
  rows.map(async ({ child }) => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  }),
)
server.close()
redis?.stop()
rmSync(folder, { recursive: true, force: true })
const { expiries, renewals, refused } = server.stats
const isGood = failed === 0 && refused === 0 && requests > 0 && renewals >= expiries && renewals <= expiries + kills
if (!isGood) console.log(pc.red(`refused=${refused}: this should not be`))
console.log(
  `fleet: processes=${processes} requests=${requests} failed=${failed} expiries=${expiries} renewals=${renewals} kills=${kills}`,
)
process.exit(isGood ? 0 : 1)

/** A redis-server of our own, without persistence; nothing where there is none. */
async function startRedis(): Promise<{ port: number; stop(): void } | undefined> {
  if (spawnSync('redis-server', ['--version']).status !== 0) return undefined
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as { port: number }
  probe.close()
  const child = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  for await (const chunk of child.stdout) if (String(chunk).includes('Ready to accept connections')) break
  process.on('exit', () => child.kill('SIGKILL'))
  return { port, stop: () => child.kill('SIGKILL') }
}
