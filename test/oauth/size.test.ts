import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { expect, test } from 'vitest'

/** What a sign-in by code and redirect weighs without a session, in bytes after gzip: a ratchet that only goes down. */
const budget = 12_400

test(`authorizationCode and redirect weigh at most ${budget} bytes by themselves`, async () => {
  const bytes = await weigh(`export { authorizationCode, redirect } from './src/oauth.ts'`)
  expect(bytes).toBeGreaterThan(5000)
  expect(bytes).toBeLessThanOrEqual(budget)
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
