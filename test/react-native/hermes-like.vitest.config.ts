import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

/** Files that need at the test's own side what is taken away, each with what. */
const otherPlatforms = [
  'test/engine/contexts.test.ts', // BroadcastChannel: tabs
  'test/engine/auth-fetch.test.ts', // streams, and what becomes of the bodies of responses
  'test/pains/21-*', // streams
  'test/pains/35-*', // a browser
  'test/pains/42-*', // the demo server runs in the same process, on crypto.subtle
  'test/pains/38-*', // crypto.subtle: dpop()
  'test/pains/47-*',
  'test/pains/46-*', // FormData over the wire: React Native's own is native
  'test/pains/55-*', // starts processes of its own
]

/** Titles of the same kind in other files. */
const otherTitles = [
  // abort-controller keeps no reason: an Error named AbortError comes instead, see wake.test.ts and the Hermes VM.
  'signIn whose signal is aborted already',
  'gets its own reason, and no refresh token is spent for it',
  'whose own signal aborts rejects with its reason and changes nothing',
  'aborts at any turn: it rejects with its own reason',
  'a caller’s signal ends its wait',
  'a caller’s own signal ends its wait at once, with its own reason',
  'a caller’s abort rejects with the caller’s own reason',
  'ends the sign-in with its own reason',
  'that has aborted: the grant is not asked',
  'is the reason also where the grant fails of it first',
  'a caller waits no longer than it wants to',
  'rejects with the reason, of now or later',
  'may be replaced for longer than its caller waits',
  'wait no longer than their caller',
  // Two contexts that speak over a BroadcastChannel.
  'in another context revokes the late pair as well',
  'of a token whose successor only another context has',
  'while a successor is unsaved elsewhere',
  'is handed to another context that asks',
  'at the first write keeps a sign-in in memory, says storage-failed', // and `degraded`, for the channel
  'that throws is told, and that breaks later too',
  'however high, is written over from above', // one write less, as nobody is told
  // Streams, blobs, TextEncoder, `redirect: manual`.
  'but a stream is sent once, and its 401 comes back',
  'does not send a stream twice',
  'is none that was read already',
  'the token alone.{0,3} for (?:a FormData|a blob|bytes)',
  'costs one renewal and no loop on a platform that drops the header',
  'never asks for keepalive', // its Request has none
]

/**
 * For `npm run test:hermes-like`: the tests of sessions and of the engine under the globals of React Native, over its fetch polyfill.
 * The polyfills come from the workspace: `npm ci --prefix test/react-native/workspace` first.
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
    setupFiles: ['test/support/no-leaks.ts', 'test/react-native/hermes-like.ts'],
    include: ['test/{session,engine,pains,react-native}/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'test/**/*.dom.test.ts', 'test/react-native/globals.test.ts', ...otherPlatforms],
    testNamePattern: new RegExp(`^(?!.*(?:${otherTitles.join('|')}))`),
  },
})
