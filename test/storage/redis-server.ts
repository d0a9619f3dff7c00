// A real redis-server for tests: on a free port, without persistence, gone afterwards.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'

/** Whether this machine has one. In CI it must; elsewhere its tests are skipped, and say so. */
export const hasRedis = (() => {
  if (spawnSync('redis-server', ['--version']).status === 0) return true
  if (process.env.CI) throw new Error('redis-server is missing: install the package redis-server.')
  console.error(
    '\n!!! redis-server is missing: the tests on a real Redis are SKIPPED. Install the package redis-server.\n',
  )
  return false
})()

export interface RedisServer {
  readonly port: number
  readonly url: string
  /** A client of the tests themselves. */
  readonly admin: Redis
  readonly process: ChildProcess
  /** Ends it as a crash does. */
  kill(): Promise<void>
  /** Starts it again on the same port, empty. */
  start(): Promise<void>
  close(): Promise<void>
}

export async function startRedis({ isCluster = false } = {}): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-redis-'))
  let port = await freePort(isCluster)
  let child: ChildProcess
  let admin: Redis

  async function start(): Promise<void> {
    child = spawn(
      'redis-server',
      [
        ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no'],
        ...(isCluster ? ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'] : []),
      ],
      { stdio: 'ignore' },
    )
    admin = new Redis(port, '127.0.0.1', { retryStrategy: () => 20, maxRetriesPerRequest: null })
    admin.on('error', () => undefined)
    const ended = once(child, 'exit').then(() => {
      throw new Error(`redis-server ended at once on port ${port}.`)
    })
    // Only while it starts.
    ended.catch(() => undefined)
    await Promise.race([admin.ping(), ended]).catch(error => {
      admin.disconnect()
      throw error
    })
    if (!isCluster) return
    await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383').catch(() => undefined)
    while (!String(await admin.call('CLUSTER', 'INFO')).includes('cluster_state:ok')) {
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }

  async function kill(): Promise<void> {
    admin.disconnect()
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  // Between the look and the start somebody may take the port.
  for (let tries = 1; ; tries++) {
    try {
      await start()
      break
    } catch (error) {
      if (tries === 5) throw error
      port = await freePort(isCluster)
    }
  }
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    get admin() {
      return admin
    },
    get process() {
      return child
    },
    kill,
    start,
    async close() {
      await kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A cluster also takes the port 10,000 above: both below those that systems give to outgoing connections. */
async function freePort(isCluster: boolean): Promise<number> {
  for (;;) {
    const port = await listenOn(isCluster ? 12_000 + Math.floor(Math.random() * 10_000) : 0)
    if (port && (!isCluster || (await listenOn(port + 10_000)))) return port
  }
}

async function listenOn(wanted: number): Promise<number | undefined> {
  const server = createServer().listen(wanted, '127.0.0.1')
  const port = await new Promise<number | undefined>(resolve => {
    server.on('error', () => resolve(undefined))
    server.on('listening', () => resolve((server.address() as { port: number }).port))
  })
  await new Promise(resolve => server.close(resolve))
  return port
}
