import {
  type Attach,
  type Channel,
  type Clock,
  clientCredentials,
  createSession,
  type Grant,
  type Lock,
  memoryStorage,
  passwordGrant,
  type Session,
  type SessionErrorCode,
  type SessionState,
  type TokenResponse,
  type TokenStorage,
  webStorage,
} from '../../src/index.ts'

// Compiled, never run: `tsc` fails where one of the lines below an expected error compiles.
const resources = 'https://api.example.com'
const tokenEndpoint = 'https://login.example.com/token'

export async function signIn() {
  const withPassword = createSession({ resources, grant: passwordGrant({ tokenEndpoint }) })
  await withPassword.signIn({ username: 'alice', password: 'x' })
  // @ts-expect-error the password is missing
  await withPassword.signIn({ username: 'alice' })
  // @ts-expect-error a name that the grant does not know
  await withPassword.signIn({ username: 'alice', password: 'x', otp: '1' })
  // @ts-expect-error no input at all
  await withPassword.signIn()
  // @ts-expect-error of another kind
  await withPassword.signIn('alice')

  const byFunction = createSession({ resources, grant: async () => ({ access_token: 'x' }) })
  // @ts-expect-error a function only renews
  await byFunction.signIn({})
  // @ts-expect-error nor does it complete
  await byFunction.signIn()

  const renewOnly = createSession({ resources, grant: { renew: async () => ({ access_token: 'x' }) } })
  // @ts-expect-error this grant has no signIn
  await renewOnly.signIn({})

  const machine = createSession({ resources, grant: clientCredentials({ tokenEndpoint }) })
  await machine.signIn()

  const own: Grant<{ pin: number }> = { signIn: async ({ pin }) => ({ access_token: `${pin.toFixed()}` }) }
  const withPin: Session<{ pin: number }> = createSession({ resources, grant: own })
  await withPin.signIn({ pin: 1 })
  // @ts-expect-error the PIN is a number
  await withPin.signIn({ pin: '1' })
}

export function options() {
  const grant = async () => ({ access_token: 'x' })
  createSession({ resources: [new URL(resources), 'https://files.example.com/up'], grant })
  createSession({
    resources: url => url.hostname.endsWith('.example.com'),
    grant,
    storage: () => webStorage('session'),
  })
  createSession({ resources, grant, storage: localStorage, renewal: { aheadMs: 1, isRefused: () => false } })
  // @ts-expect-error resources are not optional: nothing may receive a token by default
  createSession({ grant })
  // @ts-expect-error neither is the grant
  createSession({ resources })
  // @ts-expect-error a predicate says yes or no
  createSession({ resources: () => 'yes', grant })
  // @ts-expect-error an unknown policy
  createSession({ resources, grant, whenSignedOut: 'ignore' })
  // @ts-expect-error an option that does not exist
  createSession({ resources, grant, refreshAhead: 60 })
  // @ts-expect-error milliseconds are numbers
  createSession({ resources, grant, renewal: { aheadMs: '60s' } })
  // @ts-expect-error a grant resolves with the wire shape of RFC 6749
  createSession({ resources, grant: async () => ({ accessToken: 'x' }) })
  // @ts-expect-error a storage has three methods
  createSession({ resources, grant, storage: { getItem: () => null } })
  // @ts-expect-error where is it?
  passwordGrant({ clientId: 'app' })
  // @ts-expect-error an endpoint or a server, not both
  passwordGrant({ tokenEndpoint, server: { token_endpoint: tokenEndpoint } })
  // @ts-expect-error an authentication that nobody knows
  clientCredentials({ tokenEndpoint, clientAuth: 'basic' })
  passwordGrant({ server: { token_endpoint: tokenEndpoint }, clientAuth: 'client_secret_post' })
  passwordGrant({ server: async ({ fetch }) => (await fetch(resources)).json() })
}

export async function members(session: Session) {
  // A drop-in fetch: what takes a fetch takes it.
  const drop: typeof fetch = session.fetch
  const headers: Record<string, string> = await session.authorizationHeaders(new URL(resources), { method: 'POST' })
  const token: string = await session.getAccessToken({ minValidityMs: 1000, signal: AbortSignal.timeout(1) })
  const { how } = await session.renew()
  how satisfies 'renewed' | 'adopted'
  await session.adopt({ access_token: token }, { obtainedAtMs: Date.now() })
  // @ts-expect-error the shape of the wire, not of the token set
  await session.adopt({ accessToken: token })
  // @ts-expect-error the state is read, never set
  session.state = session.serverState
  session.on('signed-out', ({ reason }) => reason satisfies string)
  // @ts-expect-error an event that does not exist
  session.on('logged-out', () => undefined)
  // @ts-expect-error no event holds a token
  session.on('renewed', ({ accessToken }) => accessToken)
  const off: () => void = session.subscribe(() => undefined)
  off()
  return { drop, headers }
}

export function narrow(state: SessionState): number | string | undefined {
  // @ts-expect-error only who is signed in has an expiry
  void state.expiresAtMs
  if (state.status === 'signed-in') return state.expiresAtMs
  if (state.status === 'signed-out') return state.reason
  return state.error?.code
}

export function everyCode(code: SessionErrorCode): boolean {
  switch (code) {
    case 'sign_in_failed':
    case 'token_refused':
    case 'sign_in_cancelled':
    case 'popup_blocked':
    case 'signed_out':
    case 'read_only':
    case 'reentrant':
    case 'redirect_refused':
    case 'misconfigured':
    case 'disposed':
      return false
    case 'unreachable':
    case 'storage_unavailable':
    case 'lock_timeout':
    case 'invalid_token_response':
      return true
  }
  // A new code is a compile error here: the union is closed.
  return code satisfies never
}

// The platform’s own objects fit the ports.
export const ports: {
  lock: Lock
  channel: Channel
  storages: TokenStorage[]
  clock: Clock
  attach: Attach
  response: TokenResponse
} = {
  lock: navigator.locks,
  channel: new BroadcastChannel('x'),
  storages: [
    localStorage,
    memoryStorage(),
    // AsyncStorage and its like.
    { getItem: async () => null, setItem: async () => undefined, removeItem: async () => undefined },
  ],
  clock: { now: Date.now, monotonic: () => performance.now() },
  attach: (_request, tokens) => ({ 'x-api-key': tokens.accessToken }),
  response: { access_token: 'x', expires_in: '60', refresh_token: null },
}
