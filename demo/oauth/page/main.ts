import { createSession, isSessionError, webStorage } from 'latchkey'
import { authorizationCode, discover, dpop, popup, redirect, silent } from 'latchkey/oauth'

const element = (id: string) => document.getElementById(id) as HTMLElement
const { issuer } = (await (await fetch('/config.json')).json()) as { issuer: string }

const client = {
  server: discover(issuer),
  clientId: 'page',
  redirectUri: `${location.origin}/callback`,
}
// Three ways to one sign-in: the sessions share their record, and what one gets the others have.
const attach = dpop()
const storage = webStorage('local')
const create = (open: ReturnType<typeof redirect>, scope: string) =>
  createSession({
    resources: issuer,
    name: 'oauth-demo',
    storage,
    attach,
    grant: authorizationCode({ ...client, scope, open }),
  })
const byRedirect = create(redirect(), 'openid offline_access profile')
const byPopup = create(popup(), 'openid offline_access profile')
// A server that asks for consent never gives offline_access in silence.
const bySilence = create(silent(), 'openid profile')
const session = byRedirect
// For the tests of this page, and for whoever opens the console.
Object.assign(globalThis, { session })

function log(text: string, tone = ''): void {
  const line = document.createElement('li')
  line.className = tone
  line.textContent = text
  element('log').prepend(line)
}

function show(): void {
  const { state } = session
  const isIn = state.status === 'signed-in'
  element('signed-in').hidden = !isIn
  element('signed-out').hidden = isIn || state.status === 'starting'
  element('status').textContent = isIn ? `Signed in as ${String(state.claims?.sub)}.` : 'Signed out.'
}

async function attempt(what: string, run: () => Promise<unknown>): Promise<void> {
  try {
    const told = await run()
    log(`${what}: ${told === undefined ? 'done' : typeof told === 'string' ? told : JSON.stringify(told)}`, 'good')
  } catch (error) {
    const cause = (isSessionError(error) ? (error.cause as { code?: string } | undefined) : undefined)?.code
    log(`${what}: ${isSessionError(error) ? error.code : String(error)}${cause ? ` (${cause})` : ''}`, 'bad')
  }
}

const on = (id: string, what: string, run: () => Promise<unknown>) =>
  element(id).addEventListener('click', () => void attempt(what, run))

on('redirect', 'sign-in by redirect', () =>
  byRedirect.signIn({ appState: { leftAt: new Date().toLocaleTimeString() } }),
)
on('popup', 'sign-in by popup', () => byPopup.signIn())
on('silent', 'silent sign-in', () => bySilence.signIn())
on('call', 'API', async () => (await session.fetch(`${issuer}/me`)).json())
on('renew', 'renewal', () => session.renew())
on('sign-out', 'sign-out', () => session.signOut())
on('end', 'sign-out everywhere', () =>
  session.signOut({ endSession: { postLogoutRedirectUri: `${location.origin}/` } }),
)
on('steal', 'a thief with the token', async () => {
  const token = await session.getAccessToken()
  const response = await fetch(`${issuer}/me`, { headers: { Authorization: `Bearer ${token}` } })
  return `the API answers ${response.status}`
})

session.on('renewed', () => log('renewed'))
session.on('signed-out', ({ reason }) => log(`signed out (${reason})`))
session.subscribe(show)
await session.ready
show()
if (location.pathname === '/callback')
  await attempt('back from the authorization server', () => session.completeSignIn())
show()
