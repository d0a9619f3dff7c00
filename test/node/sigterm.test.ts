import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { hasRedis, type RedisServer, startRedis } from '../storage/redis-server.ts'
import { createTabServer, type TabServer } from '../tabs/tab-server.ts'

let folder: string
let redis: RedisServer | undefined
let server: TabServer
let children: ChildProcess[] = []
beforeAll(async () => {
  if (hasRedis) redis = await startRedis()
})
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'latchkey-'))
  server = await createTabServer()
})
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL')
  children = []
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})
afterAll(() => redis?.close())

/** A service that listens, and its port. */
async function start(place: object, how = ''): Promise<{ child: ChildProcess; url: string }> {
  const options = JSON.stringify({ origin: server.origin, ...place })
  const child = fork(fileURLToPath(new URL('./service.ts', import.meta.url)), [options, how], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  })
  children.push(child)
  const [port] = await once(child, 'message')
  return { child, url: `http://127.0.0.1:${port}` }
}

describe.each([
  ['a file', true, () => ({ file: join(folder, 'credentials') })],
  ['Redis by node-redis', hasRedis, () => ({ redis: { port: redis?.port, client: 'node-redis' } })],
  ['Redis by ioredis', hasRedis, () => ({ redis: { port: redis?.port, client: 'ioredis' } })],
] as const)('a service on %s', (_what, isThere, place) => {
  it.skipIf(!isThere).each([
    ['while a request waits for it', '/'],
    ['behind a request that was answered', '/behind'],
  ])(
    'that gets SIGTERM in the middle of a renewal %s commits it, answers, and ends by itself',
    async (_when, path) => {
      await redis?.admin.flushall()
      const { child, url } = await start(place(), 'sign-in')
      server.delayTokensMs = 700
      server.expireAccess()
      const served = fetch(url + path, { headers: { connection: 'close' } }).then(({ status }) => status)
      await expect.poll(() => server.stats.tokenCalls, { timeout: 5000 }).toBe(1)
      if (path === '/behind') expect(await served).toBe(202)
      child.kill('SIGTERM')
      const [code, signal] = await once(child, 'exit')
      expect({ code, signal }).toEqual({ code: 0, signal: null })
      expect(await served).toBe(path === '/' ? 200 : 202)
      // What it renewed is there for the next one: no further token call, and nothing refused.
      server.delayTokensMs = 0
      const successor = await start(place())
      expect((await fetch(successor.url)).status).toBe(200)
      expect(server.stats).toMatchObject({ tokenCalls: 1, refused: 0 })
    },
    30_000,
  )
})
