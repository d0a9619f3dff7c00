import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'

const main = fileURLToPath(new URL('../../demo/server/main.ts', import.meta.url))

function run(...flags: string[]) {
  const child = spawn(process.execPath, [main, '--database', ':memory:', '--port', '0', ...flags], { stdio: 'pipe' })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

test('the server runs by itself, says where it is, and ends at SIGTERM', async () => {
  const child = run()
  const [address] = await once(createInterface(child.stdout), 'line')
  expect(address).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/docs$/)
  expect((await fetch(address)).status).toBe(200)
  child.kill('SIGTERM')
  expect(await once(child, 'exit')).toEqual([0, null])
}, 30_000)

test('a flag that makes no sense is named', async () => {
  const child = run('--rotation', 'sometimes')
  const exit = once(child, 'exit')
  const [errors] = await Promise.all([child.stderr.toArray(), exit])
  expect(Buffer.concat(errors).toString()).toContain('--rotation has to be always or near-expiry.')
  expect(await exit).toEqual([1, null])
}, 30_000)
