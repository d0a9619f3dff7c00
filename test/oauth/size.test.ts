import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { expect, test } from 'vitest'

/** What a sign-in by code and redirect adds to a session, in bytes after gzip: a ratchet that only goes down. */
const budget = 11_400

test(`authorizationCode and redirect add at most ${budget} bytes to createSession`, async () => {
  const alone = await weigh(`export { createSession } from './src/index.ts'`)
  const both = await weigh(
    `export { createSession } from './src/index.ts'; export { authorizationCode, redirect } from './src/oauth.ts'`,
  )
  expect(both).toBeGreaterThan(alone)
  expect(both - alone).toBeLessThanOrEqual(budget)
})

async function weigh(contents: string): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: fileURLToPath(new URL('../..', import.meta.url)) },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    write: false,
  })
  return gzipSync(outputFiles[0]?.contents ?? '', { level: 9 }).length
}
