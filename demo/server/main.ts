import { parseArgs } from 'node:util'
import { createServer } from './server.ts'

const usage = `The demo's API server.

  node demo/server/main.ts [--port 4000] [--host 127.0.0.1] [--database demo.sqlite]
       [--allowed-origin http://localhost:5173 ...] [--access-token-ttl-ms 300000] [--refresh-token-ttl-ms 86400000]
       [--rotation always|near-expiry] [--reuse-window-ms 0] [--no-seed] [--trust-proxy]

The administrator's key is read from ADMIN_KEY; without it a random one is made and shown.
`

const { values: flags } = parseArgs({
  allowNegative: true,
  options: {
    port: { type: 'string', default: '4000' },
    host: { type: 'string', default: '127.0.0.1' },
    database: { type: 'string', default: 'demo.sqlite' },
    'allowed-origin': { type: 'string', multiple: true, default: [] },
    'access-token-ttl-ms': { type: 'string', default: '300000' },
    'refresh-token-ttl-ms': { type: 'string', default: '86400000' },
    rotation: { type: 'string', default: 'always' },
    'reuse-window-ms': { type: 'string', default: '0' },
    seed: { type: 'boolean', default: true },
    'trust-proxy': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (flags.help) {
  process.stdout.write(usage)
} else {
  const adminKey = process.env.ADMIN_KEY
  const server = await createServer({
    port: wholeNumber('port'),
    host: flags.host,
    database: flags.database,
    allowedOrigins: flags['allowed-origin'],
    accessTokenTtlMs: wholeNumber('access-token-ttl-ms'),
    refreshTokenTtlMs: wholeNumber('refresh-token-ttl-ms'),
    rotation: rotation(flags.rotation),
    reuseWindowMs: wholeNumber('reuse-window-ms'),
    seed: flags.seed,
    trustProxy: flags['trust-proxy'],
    ...(adminKey && { adminKey }),
  })
  console.log(`${server.origin}/docs`)
  if (server.demoUser) console.log(`sign in as ${server.demoUser.username} / ${server.demoUser.password}`)
  if (!adminKey) console.log(`administrator's key: ${server.adminKey}`)
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void server.close())
}

function wholeNumber(name: 'port' | 'access-token-ttl-ms' | 'refresh-token-ttl-ms' | 'reuse-window-ms'): number {
  if (/^\d{1,15}$/.test(flags[name])) return Number(flags[name])
  throw new Error(`--${name} has to be a whole number.`)
}

function rotation(value: string): 'always' | 'near-expiry' {
  if (value === 'always' || value === 'near-expiry') return value
  throw new Error('--rotation has to be always or near-expiry.')
}
