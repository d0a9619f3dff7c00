import type { TokenResponse, TokenSet } from '../values/token-set.ts'
import type { Attach } from './attach.ts'

/** What a grant gets to do its work. */
export interface GrantContext {
  /** The raw fetch: it attaches nothing and never re-enters the session. */
  readonly fetch: typeof fetch
  /** Aborts when the session's own time is up. Never a caller's signal: a renewal is nobody's alone. */
  readonly signal: AbortSignal
  /** Epoch milliseconds of the session's clock. */
  nowMs(): number
  readonly attach?: Attach | undefined
  /** A view renews: its token is for this resource and scope only (RFC 8707 §2.2, RFC 6749 §6). */
  readonly target?: { readonly resource?: string; readonly scope?: string }
  /** The session's `renewal.minIntervalMs`. */
  readonly minIntervalMs: number
}

/** A token response, and the app's own state that went along with the sign-in. */
export type SignInResponse = TokenResponse & { appState?: unknown }

/** Of `signOut({ endSession })`. */
export interface EndSessionOptions {
  readonly postLogoutRedirectUri?: string
}

/** How tokens are obtained, renewed and revoked. Every method resolves with the wire shape of RFC 6749 §5.1. */
export interface Grant<SignIn = never> {
  /** Stands in the record: what one grant stored, another never spends. */
  readonly name?: string | undefined
  signIn?(input: SignIn, context: GrantContext): Promise<SignInResponse>
  /** For a `signIn` that leaves the page: takes the answer at its redirect URI. `undefined` where the URL is none. */
  complete?(url: string, context: GrantContext): Promise<SignInResponse | undefined>
  /** What names the answer in a URL, or the one that was taken out of it and is being exchanged; `undefined` where there is none. */
  answerIn?(url: string): string | undefined
  /** Ends the session at the authorization server too, after the local end (OpenID Connect RP-Initiated Logout 1.0). */
  endSession?(tokens: TokenSet, options: EndSessionOptions, context: GrantContext): Promise<void>
  renew?(tokens: TokenSet, context: GrantContext): Promise<TokenResponse>
  revoke?(tokens: TokenSet, context: GrantContext): Promise<void>
  /** Whether `renew` has what it needs. @default true */
  canRenew?(tokens: TokenSet): boolean
  /** Puts what this grant brings on a request, where the session names no other. */
  readonly attach?: Attach | undefined
  /** A 401 is worth a renewal however young the token is: it brings another one, not a younger. */
  readonly renewsAtOnce?: boolean | undefined
  /** `signIn` needs no human: the session calls it by itself at the first call, or at the start. Never after a signOut. */
  readonly headless?: boolean | 'at-start' | undefined
}

/** A custom grant in one function: renews, and says "refused" by throwing `refused(cause)` or the `Response` it got. */
export type GrantFunction = (tokens: TokenSet, context: GrantContext) => Promise<TokenResponse>
