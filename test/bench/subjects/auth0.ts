import { Auth0Client } from '@auth0/auth0-spa-js'
import { authOrigin, clientId } from '../harness/stub-server.ts'
import { everyInput, type Subject } from '../harness/subject.ts'

const scope = 'openid profile email offline_access'
const prefix = '@@auth0spajs@@'

// It sets cookies, which needs a document. Nobody else here shall see one.
const page = {
  location: { protocol: 'http:', origin: 'http://localhost' },
  crypto,
  fetch,
  addEventListener() {},
  removeEventListener() {},
}
const globals = globalThis as { window?: unknown; document?: unknown }

/** `createFetcher()` with refresh tokens and a cache that both the app and other contexts can see. Its token calls go through the global fetch. */
export const auth0: Subject = {
  name: '@auth0/auth0-spa-js',
  package: '@auth0/auth0-spa-js',
  entries: { Auth0Client: "export { Auth0Client } from '@auth0/auth0-spa-js'" },
  inputs: everyInput,
  cannot: { reactive: 'no 401 handling', ahead: 'waits for a renewal' },
  enter() {
    globals.window = page
    globals.document = { cookie: '' }
  },
  leave() {
    delete globals.window
    delete globals.document
  },
  async create({ fetch, tokens, obtainedAtMs, shared }) {
    const cache = shared ? cacheOn(shared) : cacheInMemory()
    const key = `${prefix}::${clientId}::default::${scope}`
    const claims = { sub: 'user', iss: `${authOrigin}/`, aud: clientId }
    const body = { ...tokens, scope, audience: 'default', client_id: clientId, decodedToken: { claims, user: claims } }
    if (!cache.get(key)) {
      cache.set(key, { body, expiresAt: Math.floor(obtainedAtMs / 1000) + tokens.expires_in })
      cache.set(`${prefix}::${clientId}::@@user@@`, { id_token: tokens.id_token, decodedToken: body.decodedToken })
    }
    const client = new Auth0Client({
      domain: authOrigin,
      clientId,
      useRefreshTokens: true,
      cache: cache as never,
      authorizationParams: { redirect_uri: 'http://localhost/' },
    })
    const fetcher = client.createFetcher({ fetch: fetch as never })
    return { fetch: (input, init) => fetcher.fetchWithAuth(input, init) as Promise<Response> }
  },
}

function cacheInMemory() {
  const items = new Map<string, unknown>()
  return {
    get: (key: string) => items.get(key),
    set: (key: string, value: unknown) => void items.set(key, value),
    remove: (key: string) => void items.delete(key),
    allKeys: () => [...items.keys()],
  }
}

function cacheOn(shared: Map<string, string>) {
  return {
    get: (key: string) => JSON.parse(shared.get(key) ?? 'null') ?? undefined,
    set: (key: string, value: unknown) => void shared.set(key, JSON.stringify(value)),
    remove: (key: string) => void shared.delete(key),
    allKeys: () => [...shared.keys()],
  }
}
