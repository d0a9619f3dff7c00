import { fileURLToPath } from 'node:url'
import { playwright } from '@vitest/browser-playwright'
import { msw } from 'msw/vite'
import { defineConfig, type ViteUserConfig } from 'vitest/config'
import { findChromium } from './test/support/chromium.ts'
import { assertNode } from './test/support/node-version.ts'

assertNode()

export default defineConfig(async (): Promise<ViteUserConfig> => {
  const chromium = await findChromium()
  return {
    resolve: {
      alias: [
        { find: /^latchkey$/, replacement: source('index') },
        { find: /^latchkey\/([a-z-]+)$/, replacement: source('$1') },
      ],
    },
    test: {
      setupFiles: ['test/support/no-leaks.ts'],
      // For a busy machine; no test waits for it.
      testTimeout: 30_000,
      hookTimeout: 30_000,
      provide: { chromium },
      projects: [
        {
          extends: true,
          test: {
            name: 'node',
            environment: 'node',
            include: ['test/**/*.test.ts'],
            exclude: ['**/node_modules/**', 'test/browser/**', 'test/**/*.dom.test.ts'],
          },
        },
        {
          extends: true,
          test: { name: 'happy-dom', environment: 'happy-dom', include: ['test/**/*.dom.test.ts'] },
        },
        {
          extends: true,
          // The worker comes from the server: no copy of mockServiceWorker.js in the repository.
          plugins: [msw({ mode: 'worker-only' })],
          // Found late, a dependency is optimised in the middle of the first run, and the page reloads under the tests.
          optimizeDeps: { include: ['ky', 'jwt-decode', 'msw', 'msw/browser'] },
          test: {
            name: 'chromium',
            include: ['test/browser/**/*.browser.test.ts'],
            browser: {
              enabled: true,
              headless: true,
              screenshotFailures: false,
              provider: playwright({ launchOptions: chromium }),
              instances: [{ browser: 'chromium' }],
            },
          },
        },
      ],
    },
  }
})

function source(entry: string): string {
  return fileURLToPath(new URL(`./src/${entry}.ts`, import.meta.url))
}
