import { SessionError } from '../values/errors.ts'

/** What an `open` gets beside the URL. `signal` aborts when the sign-in is over. */
export interface OpenContext {
  readonly redirectUri: string
  readonly signal: AbortSignal
}

/** Brings the user to the authorization server and resolves with the URL that came back. */
export type OpenFunction = (authorizationUrl: string, context: OpenContext) => Promise<string>

/** Something that is ready to show the authorization server: a window, a port that listens. */
export interface Opened {
  /** Where the answer comes in, if that is known only now. */
  readonly redirectUri?: string
  /** Stands in the state: how the redirect page tells an answer that another window waits for. */
  readonly isHandedOver?: boolean
  /** The sign-in is finished by `completeSignIn` on another page: it has to survive this one. */
  readonly leavesPage?: boolean
  /** Of the authorization request. */
  readonly parameters?: Record<string, string>
  /** Resolves with the URL that came back, or never where it leaves the page. */
  go(authorizationUrl: string, state: string): Promise<string>
  /** Runs however the sign-in ends. Repeatable. */
  close(): void
}

/** `redirect()`, `popup()`, `silent()`, `loopback()`. */
export interface Opener {
  /** Called in the caller's own turn: a popup opened any later is blocked. */
  prepare(request: { redirectUri: string | undefined; signal: AbortSignal }): Opened | Promise<Opened>
}

export type Open = OpenFunction | Opener

/**
 * What comes back to a page of another origin can't be taken there: neither the tab's storage nor a channel reaches over.
 * @throws SessionError `misconfigured`
 */
export function assertOwnOrigin(redirectUri: string | undefined): void {
  const { origin } = globalThis.location ?? {}
  if (!redirectUri || !origin?.startsWith('http') || !redirectUri.startsWith('http')) return
  if (new URL(redirectUri).origin === origin) return
  throw new SessionError(
    'misconfigured',
    'The redirectUri is of another origin than this page, which will never get the answer. Write one of this origin.',
  )
}

export const openerOf = (open: Open): Opener =>
  typeof open !== 'function'
    ? open
    : {
        prepare: ({ redirectUri = '', signal }) => ({
          go: url => open(url, { redirectUri, signal }),
          close() {},
        }),
      }
