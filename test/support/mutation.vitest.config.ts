import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

/** For `npm run mutation`: the tests of the engine in Node alone, no browser, no child processes, no packing. */
export default defineConfig({
  root: fileURLToPath(new URL('../..', import.meta.url)),
  resolve: {
    alias: { latchkey: fileURLToPath(new URL('../../src/index.ts', import.meta.url)) },
  },
  test: {
    environment: 'node',
    setupFiles: ['test/support/no-leaks.ts'],
    include: ['test/{values,engine,session,pains,servers,grants,locks,storage}/**/*.test.ts'],
    exclude: ['test/**/*.dom.test.ts', 'test/pains/55-*'],
  },
})
