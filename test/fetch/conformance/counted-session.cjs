// A session over a fetch, for suites that are CommonJS. It tells at the end how often it put its token on a request.
const { appendFileSync } = require('node:fs')

const { LATCHKEY_BUNDLE, LATCHKEY_SENDS } = process.env

/** A session of its own over this fetch; `load` reads a module past what the suite is given in its place. */
module.exports = function countedSession(raw, name, load) {
  const { createSession } = load(LATCHKEY_BUNDLE)
  const tokens = { access_token: 'of-the-conformance-tests', refresh_token: 'r', expires_in: 3600 }
  let sends = 0
  const session = createSession({
    resources: () => true,
    name,
    grant: async () => tokens,
    fetch: raw,
    attach: (_, { accessToken }) => {
      sends++
      return { Authorization: `Bearer ${accessToken}` }
    },
  })
  session.adopt(tokens)
  process.on('exit', () => appendFileSync(LATCHKEY_SENDS, `${sends}\n`))
  return session
}
