import { expect, test } from 'vitest'
import { budgets, report, sizeOf } from './size.ts'

test.each(budgets)('$entry { $names } costs at most $gzip bytes after gzip', async ({ entry, names, gzip }) => {
  const size = await sizeOf(names, entry)
  expect(size.gzip).toBeGreaterThan(0)
  expect(size.gzip, report(size, gzip)).toBeLessThanOrEqual(gzip)
})

test('a session with a grant of its own pays for no client of token endpoints', async () => {
  const parts = await partsOf('createSession')
  expect(parts).toContain('src/session/create-session.ts')
  expect(parts).not.toContain('ky')
  expect(parts).not.toContain('oauth4webapi')
})

test('a client of token endpoints is seen where there is one', async () => {
  expect(await partsOf('createSession, passwordGrant')).toContain('ky')
})

async function partsOf(names: string): Promise<string[]> {
  return (await sizeOf(names)).parts.map(({ from }) => from)
}
