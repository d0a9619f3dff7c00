import { parseArgs } from 'node:util'
import { createSession, isSessionError } from 'latchkey'
import { loopback } from 'latchkey/node'
import { authorizationCode, deviceCode } from 'latchkey/oauth'
import pc from 'picocolors'
import { renderUnicodeCompact } from 'uqr'
import { createOAuthProvider } from './provider.ts'

const usage = `npm run demo:cli -- device     a code to type on another device, and a QR code
npm run demo:cli -- loopback   the browser of this machine (--no-browser prints the URL)`

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { 'no-browser': { type: 'boolean', default: false } },
})
const [how = 'device'] = positionals
if (how !== 'device' && how !== 'loopback') {
  console.error(usage)
  process.exit(2)
}

const deviceGrant = 'urn:ietf:params:oauth:grant-type:device_code'
const provider = await createOAuthProvider({
  clients: [
    {
      client_id: 'cli',
      token_endpoint_auth_method: 'none',
      application_type: 'native',
      redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: ['authorization_code', 'refresh_token', deviceGrant],
    },
  ],
})
const client = { issuer: provider.issuer, clientId: 'cli', scope: 'openid offline_access profile' }

const abort = new AbortController()
process.once('SIGINT', () => abort.abort(new Error('Interrupted.')))

const print = (url: string) => console.log(`Open ${pc.bold(url)}`)
const grant =
  how === 'device'
    ? deviceCode({
        ...client,
        onPrompt({ userCode, verificationUri, verificationUriComplete, expiresAtMs }) {
          if (verificationUriComplete) console.log(renderUnicodeCompact(verificationUriComplete))
          console.log(`Go to ${pc.bold(verificationUri)} and type ${pc.bold(userCode)}`)
          console.log(pc.dim(`until ${new Date(expiresAtMs).toLocaleTimeString()}; Ctrl-C ends`))
        },
      })
    : authorizationCode({ ...client, open: loopback(values['no-browser'] ? { openBrowser: print } : {}) })

const session = createSession({ resources: provider.issuer, grant })
try {
  console.log(pc.dim(`Authorization server: ${provider.issuer}`))
  await session.signIn({ signal: abort.signal })
  const { state } = session
  console.log(pc.green(`Signed in as ${state.status === 'signed-in' ? String(state.claims?.sub) : 'nobody'}.`))
  const response = await session.fetch(`${provider.issuer}/me`)
  console.log(`The API answers ${response.status}: ${await response.text()}`)
  await session.signOut()
  console.log('Signed out.')
} catch (error) {
  console.error(pc.red(isSessionError(error) ? `${error.code}: ${error.message}` : String((error as Error).message)))
  process.exitCode = 1
} finally {
  session.dispose()
  await provider.close()
}
