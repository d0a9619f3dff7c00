import type { Tokens } from './stub-server.ts'

/** What a client is made with: who it talks to, and the tokens of a sign-in. */
export interface World {
  /** Where the API is. */
  readonly origin: string
  readonly tokenEndpoint: string
  readonly fetch: typeof fetch
  readonly tokens: Tokens
  /** When they were obtained, by `Date.now()`. */
  readonly obtainedAtMs: number
  /** Contexts that are told the same map share one storage, as tabs do. */
  readonly shared?: Map<string, string>
}

/** How an app calls its API through the library. */
export interface Client {
  fetch(input: string | URL | Request, init?: RequestInit): Promise<{ readonly status: number }>
  close?(): void
}

export type InputKind = 'url' | 'url + init' | 'URL' | 'Request'

/** What a figure asks of a subject. Where it can't, it says why. */
export type Ability = 'attach' | 'proactive' | 'reactive' | 'renew' | 'ahead' | 'contexts' | 'scale' | 'bytes'

export interface Subject {
  readonly name: string
  /** The npm package whose version is told. */
  readonly package?: string
  /** The smallest realistic import, to be bundled from here. */
  readonly entries?: Readonly<Record<string, string>>
  readonly inputs: readonly InputKind[]
  /** It reads or clones the body by itself, so each answer must be a response of its own. */
  readonly readsBody?: boolean
  readonly cannot?: Partial<Record<Ability, string>>
  create(world: World): Client | Promise<Client>
  /** Globals that the library needs and that others must not see. */
  enter?(): void
  leave?(): void
}

export const everyInput: readonly InputKind[] = ['url', 'url + init', 'URL', 'Request']

/** One call of the token endpoint, as an app writes it for a library that takes a function. */
export async function requestTokens({ fetch, tokenEndpoint }: World, refreshToken: string): Promise<Tokens> {
  const response = await fetch(tokenEndpoint, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken }),
  })
  if (!response.ok) throw new Error(`The token endpoint answered ${response.status}.`)
  return (await response.json()) as Tokens
}

/** The pair that an app keeps for a library that keeps none. */
export function keepTokens(world: World) {
  let { access_token, refresh_token } = world.tokens
  let expiresAtMs = world.obtainedAtMs + world.tokens.expires_in * 1000
  return {
    get accessToken() {
      return access_token
    },
    get expiresAtMs() {
      return expiresAtMs
    },
    async renew() {
      const sentAtMs = Date.now()
      const next = await requestTokens(world, refresh_token)
      access_token = next.access_token
      refresh_token = next.refresh_token
      expiresAtMs = sentAtMs + next.expires_in * 1000
    },
  }
}
