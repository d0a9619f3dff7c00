import { AuthClient } from '@supabase/auth-js'
import { authOrigin } from '../harness/stub-server.ts'
import { everyInput, type Subject } from '../harness/subject.ts'

/** `getSession()` before each call and a `Headers` of its own, as supabase-js wraps fetch around it. */
export const supabase: Subject = {
  name: '@supabase/auth-js',
  package: '@supabase/auth-js',
  entries: { AuthClient: "export { AuthClient } from '@supabase/auth-js'" },
  inputs: everyInput,
  cannot: { reactive: 'no 401 handling', ahead: 'waits for a renewal' },
  async create({ fetch, tokens, obtainedAtMs, shared = new Map() }) {
    const client = new AuthClient({
      url: authOrigin,
      fetch,
      autoRefreshToken: false,
      detectSessionInUrl: false,
      persistSession: true,
      storageKey: 'session',
      storage: {
        getItem: async (key: string) => shared.get(key) ?? null,
        setItem: async (key: string, value: string) => void shared.set(key, value),
        removeItem: async (key: string) => void shared.delete(key),
      },
    })
    if (!shared.has('session')) {
      shared.set(
        'session',
        JSON.stringify({ ...tokens, expires_at: Math.floor(obtainedAtMs / 1000) + tokens.expires_in }),
      )
    }
    await client.initialize()
    return {
      async fetch(input, init) {
        const { data, error } = await client.getSession()
        if (error || !data.session) throw error ?? new Error('No session')
        const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined))
        if (!headers.has('Authorization')) headers.set('Authorization', `Bearer ${data.session.access_token}`)
        return fetch(input, { ...init, headers })
      },
    }
  },
}
