// Puts `session.fetch` in the place of undici's fetch, before a test takes it from the module.
const Module = require('node:module')
const { join } = require('node:path')

const suite = process.env.LATCHKEY_SUITE
const entries = new Set(['index.js', 'index-fetch.js', 'undici-fetch.js'].map(name => join(suite, name)))
const load = Module._load
const done = new WeakSet()
const countedSession = require('./counted-session.cjs')

Module._load = function (request, parent, isMain) {
  const exports = load.call(this, request, parent, isMain)
  if (!process.env.LATCHKEY_BUNDLE || !parent?.filename?.startsWith(join(suite, 'test'))) return exports
  const path = Module._resolveFilename(request, parent, isMain)
  if (!entries.has(path) || done.has(exports)) return exports
  done.add(exports)
  const session = countedSession(exports.fetch, path, name => load.call(this, name, module, false))
  Object.defineProperty(exports, 'fetch', {
    value: session.fetch,
    writable: true,
    configurable: true,
    enumerable: true,
  })
  return exports
}
