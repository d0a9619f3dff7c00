import type { LiveRecord } from '../values/record.ts'
import type { TokenSet } from '../values/token-set.ts'
import type { Announce, Held, TokenManager } from './token-manager.ts'

/** What a token is asked for beyond what the sign-in has (RFC 8707 §2.2, RFC 6749 §6). */
export interface Target {
  readonly resource?: string
  readonly scope?: string
}

/**
 * What a renewal brings a token for: the sign-in itself, or a view of it that has an access token of its own.
 * Both spend the one refresh token, in one line of rotation.
 */
export interface Subject {
  readonly target?: Target
  /** The access token at hand; empty where there is none yet. */
  current(): string
  isAlive(): boolean
  /** The tokens of the record once `tokens` have come. */
  store(record: LiveRecord, tokens: TokenSet): TokenSet
  /** The successor stands: it is known from now on. */
  accept(held: Held, tokens: TokenSet, bornAtMs: number, bornMonotonicMs: number, announce: Announce): void
}

/** The sign-in itself. */
export const ownSubject = (manager: TokenManager): Subject => ({
  current: () => manager.held?.record.tokens.accessToken ?? '',
  isAlive: () => manager.remainingMs() > 0,
  store: (_record, tokens) => tokens,
  accept: (held, _tokens, _bornAtMs, _bornMonotonicMs, announce) => manager.renewed(held, announce),
})
