// Puts `session.fetch` in the place of undici's fetch, before a test takes it from the module.
const Module = require('node:module')
const { join } = require('node:path')

const suite = process.env.LATCHKEY_SUITE
const entries = new Set(['index.js', 'index-fetch.js', 'undici-fetch.js'].map(name => join(suite, name)))
const load = Module._load
const done = new WeakSet()

Module._load = function (request, parent, isMain) {
  const exports = load.call(this, request, parent, isMain)
  if (!parent?.filename?.startsWith(join(suite, 'test'))) return exports
  const path = Module._resolveFilename(request, parent, isMain)
  if (!entries.has(path) || done.has(exports)) return exports
  done.add(exports)
  const { createSession } = load.call(this, globalThis.latchkeyPath, module, false)
  const tokens = { access_token: 'of-the-conformance-tests', refresh_token: 'r', expires_in: 3600 }
  const raw = exports.fetch
  const session = createSession({ resources: () => true, name: path, grant: async () => tokens, fetch: raw })
  session.adopt(tokens)
  Object.defineProperty(exports, 'fetch', {
    value: session.fetch,
    writable: true,
    configurable: true,
    enumerable: true,
  })
  return exports
}
