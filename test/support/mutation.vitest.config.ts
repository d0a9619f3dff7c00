import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

/** For `npm run mutation`: what tests the engine in Node alone, without a browser, child processes, Redis or packing. */
export default defineConfig({
  root: fileURLToPath(new URL('../..', import.meta.url)),
  resolve: {
    alias: [
      { find: /^latchkey$/, replacement: fileURLToPath(new URL('../../src/index.ts', import.meta.url)) },
      { find: /^latchkey\/([a-z-]+)$/, replacement: fileURLToPath(new URL('../../src/$1.ts', import.meta.url)) },
    ],
  },
  test: {
    environment: 'node',
    setupFiles: ['test/support/no-leaks.ts'],
    include: [
      'test/{values,engine,session,pains,servers,grants,locks,storage,fetch,react-native}/**/*.test.ts',
      'test/support/mutation-simulation.ts',
    ],
    exclude: [
      'test/**/*.dom.test.ts',
      'test/pains/{35,55}-*',
      'test/fetch/{attacks,memory,redirects,bodies}.test.ts',
      'test/storage/{redis,keyring,file}*',
      'test/locks/redis*',
    ],
  },
})
