import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { createClientServer } from '../processes/client-server.ts'
import { hasRedis, type RedisServer, startRedis } from '../storage/redis-server.ts'
import { createTabServer, type TabServer } from '../tabs/tab-server.ts'

let folder: string
let redis: RedisServer | undefined
let server: TabServer | Awaited<ReturnType<typeof createClientServer>>
beforeAll(async () => {
  if (hasRedis) redis = await startRedis()
})
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'latchkey-'))
})
afterEach(async () => {
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})
afterAll(() => redis?.close())

it.each([
  ['a file, a renewal and keepFresh', 'file'],
  ['a file and client credentials', 'client-credentials'],
  ['a pool on a file', 'pool'],
  ...(hasRedis
    ? [
        ['Redis by node-redis, whose client it closes', 'node-redis'],
        ['Redis by ioredis, whose client it closes', 'ioredis'],
      ]
    : []),
] as [string, string][])(
  '55: a script that signs in and makes one call exits by itself, with %s',
  async (_what, what) => {
    server = what === 'client-credentials' ? await createClientServer() : await createTabServer()
    const script = fileURLToPath(new URL('./exits.ts', import.meta.url))
    const args = ['--disable-warning=ExperimentalWarning', script, what, server.origin, join(folder, 'credentials')]
    const { stdout } = await promisify(execFile)(process.execPath, [...args, String(redis?.port)], { timeout: 20_000 })
    const [status, ms] = stdout.trim().split('\n')
    expect(status).toBe('200')
    if (process.env.LATCHKEY_LONG) console.log(`exit with ${what}: ${ms} ms after the last line`)
    expect(
      readdirSync(folder).filter(name => name !== 'credentials' && !/^credentials\.[0-9a-f]{16}$/.test(name)),
    ).toEqual([])
  },
  30_000,
)
