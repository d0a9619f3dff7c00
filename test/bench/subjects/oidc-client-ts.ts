import { User, UserManager, WebStorageStateStore } from 'oidc-client-ts'
import { authOrigin, clientId } from '../harness/stub-server.ts'
import type { Subject } from '../harness/subject.ts'

/** It has no fetch of its own: `getUser()`, `signinSilent()` where that says expired, and a header literal. Its calls go through the global fetch. */
export const oidcClientTs: Subject = {
  name: 'oidc-client-ts',
  package: 'oidc-client-ts',
  entries: { UserManager: "export { UserManager } from 'oidc-client-ts'" },
  inputs: ['url', 'url + init', 'URL'],
  cannot: { reactive: 'no 401 handling', ahead: 'renews by a timer only' },
  async create({ tokenEndpoint, fetch, tokens, obtainedAtMs, shared = new Map() }) {
    const manager = new UserManager({
      authority: authOrigin,
      client_id: clientId,
      redirect_uri: 'http://localhost/',
      metadata: { issuer: `${authOrigin}/`, token_endpoint: tokenEndpoint },
      automaticSilentRenew: false,
      monitorSession: false,
      userStore: new WebStorageStateStore({ store: webStorageOn(shared) }),
      stateStore: new WebStorageStateStore({ store: webStorageOn(new Map()) }),
    })
    if (!shared.size) {
      await manager.storeUser(
        new User({
          access_token: tokens.access_token,
          refresh_token: tokens.refresh_token,
          id_token: tokens.id_token,
          token_type: 'Bearer',
          scope: tokens.scope,
          expires_at: Math.floor(obtainedAtMs / 1000) + tokens.expires_in,
          profile: { sub: 'user', iss: `${authOrigin}/`, aud: clientId, exp: 0, iat: 0 },
        } as never),
      )
    }
    return {
      async fetch(input, init) {
        let user = await manager.getUser()
        if (user?.expired) user = await manager.signinSilent()
        return fetch(input, { ...init, headers: { ...init?.headers, Authorization: `Bearer ${user?.access_token}` } })
      },
      close: () => manager.stopSilentRenew(),
    }
  },
}

function webStorageOn(items: Map<string, string>): Storage {
  return {
    get length() {
      return items.size
    },
    key: (index: number) => [...items.keys()][index] ?? null,
    getItem: (key: string) => items.get(key) ?? null,
    setItem: (key: string, value: string) => void items.set(key, value),
    removeItem: (key: string) => void items.delete(key),
    clear: () => items.clear(),
  }
}
