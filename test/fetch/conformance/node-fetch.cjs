// Gives the tests of node-fetch a fetch, their own or the platform's, as it is or under a session.
const Module = require('node:module')
const { join } = require('node:path')

require('./loopback-only.cjs')
require('./mocha-on-node-test.cjs')
const countedSession = require('./counted-session.cjs')
// The suite leaves promises alone on purpose.
process.on('unhandledRejection', () => undefined)

const { LATCHKEY_SUITE: suite, LATCHKEY_FETCH: kind, LATCHKEY_BUNDLE: bundle } = process.env
const load = Module._load
const platform = Object.assign((...args) => fetch(...args), { Headers, Request, Response, Promise })
const raw = kind === 'platform' ? platform : require(join(suite, 'index.js'))

function underSession() {
  const session = countedSession((...args) => raw(...args), kind, require)
  // What else hangs on the function is theirs.
  return new Proxy(raw, { apply: (_, __, args) => session.fetch(...args) })
}

const subjects = new Map([[join(suite, 'index.js'), bundle ? underSession() : raw]])
if (kind === 'platform') {
  for (const name of ['Headers', 'Request', 'Response']) {
    subjects.set(join(suite, `lib/${name.toLowerCase()}.js`), globalThis[name])
  }
}

Module._load = function (request, parent, isMain) {
  if (parent?.filename !== join(suite, 'test/test.js')) return load.call(this, request, parent, isMain)
  return subjects.get(Module._resolveFilename(request, parent, isMain)) ?? load.call(this, request, parent, isMain)
}
