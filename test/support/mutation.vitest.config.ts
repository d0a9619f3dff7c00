import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

// Most mutants end at the first test that fails: the small suites come first.
const order = ['/test/values/', '/test/session/', '/test/engine/', '/test/fetch/', '/test/pains/']
const rank = (file: string) => {
  if (file.endsWith('mutation-simulation.ts')) return order.length + 1
  const place = order.findIndex(folder => file.includes(folder))
  return place < 0 ? order.length : place
}
class SmallFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return files.sort((a, b) => rank(a.moduleId) - rank(b.moduleId) || a.moduleId.localeCompare(b.moduleId))
  }
}

/**
 * For `npm run mutation`: what tests the values, the engine and the session in Node alone, and quickly. One thread runs all files, as a thread
 * for each would take longer than its tests.
 */
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
    setupFiles: ['test/support/mutation.setup.ts', 'test/support/no-leaks.ts'],
    isolate: false,
    fileParallelism: false,
    sequence: { sequencer: SmallFirst },
    // A mutant that hangs is found when its first test is over.
    testTimeout: 3_000,
    include: [
      'test/{values,engine,session,pains,servers,grants,fetch,react-native}/**/*.test.ts',
      'test/support/mutation-simulation.ts',
    ],
    exclude: [
      'test/**/*.dom.test.ts',
      // They start servers or child processes, wait in real time, or are about other folders than those that are mutated.
      'test/pains/{02-on-a-real-line,35,55}*',
      'test/fetch/{attacks,memory,redirects,bodies,differential}.test.ts',
      'test/react-native/globals.test.ts',
    ],
  },
})
