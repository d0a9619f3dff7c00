import { existsSync } from 'node:fs'
import { here, type Suite } from './suite.ts'

const folder = here('node_modules/node-fetch')

// A promise class of one's own is no part of a fetch.
const isLeftOut = (name: string) => /custom promise|no promise implementation/.test(name)

/**
 * The tests that node-fetch 1 brings along in its package, so that npm alone is enough for them: with the fetch that they were written
 * for, with its own Request and Node streams for bodies, and with the platform's, which passes what of them is standard.
 * @throws where the package is not installed
 */
export function nodeFetchSuites(): Suite[] {
  if (!existsSync(folder)) throw new Error('not here: npm ci --prefix test/fetch/conformance')
  const suite = (fetch: string, LATCHKEY_FETCH: string, least: number): Suite => ({
    name: 'node-fetch 1.7.3 test',
    fetch,
    folder,
    files: ['test/test.js'],
    preload: here('node-fetch.cjs'),
    env: { LATCHKEY_FETCH },
    least,
    isLeftOut,
  })
  return [suite('its own fetch', 'own', 110), suite(`the fetch of Node ${process.versions.node}`, 'platform', 60)]
}
