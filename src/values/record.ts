import type { TokenSet } from './token-set.ts'

/** What is written ahead of a renewal, and what all contexts share about its failure. */
export interface Attempt {
  /** The context that tries. */
  readonly by: string
  readonly atMs: number
  /** No context asks again before. */
  readonly retryAtMs?: number
}

/** The record of a sign-in: one JSON string under one key, always written whole. */
export interface LiveRecord {
  readonly v: 1
  /** The sign-in. */
  readonly id: string
  /** Orders everything ever written under this key; never restarts. */
  readonly generation: number
  /** When the sign-in began, by the wall clock; later than every other that its context had seen. Of two sign-ins the later counts. */
  readonly begunAtMs?: number | undefined
  /** The name of the grant that obtained the tokens. */
  readonly grant: string
  readonly tokens: TokenSet
  /** When the tokens' life began, by the wall clock. */
  readonly savedAtMs: number
  readonly attempt?: Attempt
  /** The server refused the refresh token, which is gone from `tokens`. */
  readonly refused?: true
}

/** What stays after a sign-out, so that nobody brings the session back. */
export interface Tombstone {
  readonly v: 1
  readonly id: string
  readonly generation: number
  readonly begunAtMs?: number | undefined
  readonly signedOut: true
}

export type StoredRecord = LiveRecord | Tombstone

export const isTombstone = (record: StoredRecord): record is Tombstone => 'signedOut' in record

/** Whether nothing was rotated between them: the same sign-in with the same tokens. */
export const isSamePair = (a: LiveRecord, b: LiveRecord): boolean =>
  a.id === b.id && a.tokens.accessToken === b.tokens.accessToken && a.tokens.refreshToken === b.tokens.refreshToken

/**
 * Which of two records counts: positive where `a` does. Of two sign-ins the later; within one, and where it is not known when they began,
 * the higher generation. 0: neither, so what is stored does.
 */
export function compareRecords(a: StoredRecord, b: StoredRecord): number {
  const isKnown = a.id !== b.id && a.begunAtMs !== undefined && b.begunAtMs !== undefined
  return (isKnown && (a.begunAtMs as number) - (b.begunAtMs as number)) || a.generation - b.generation
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
// Far from where counting on would lose precision.
const isGeneration = (value: unknown) =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 52
const optional = (value: unknown, type: string) => value === undefined || typeof value === type

/** The record in a stored string, or `undefined` where it is torn, foreign or of another version. Never throws. */
export function parseRecord(text: string): StoredRecord | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Torn: no record.
  }
  return isRecord(value) ? value : undefined
}

/** Whether a value, from a storage or a message, is a record in every field that Latchkey reads. */
export function isRecord(value: unknown): value is StoredRecord {
  if (!isObject(value) || value.v !== 1 || typeof value.id !== 'string' || !isGeneration(value.generation)) return false
  const { begunAtMs = 0 } = value
  if (typeof begunAtMs !== 'number' || !isGeneration(Math.floor(begunAtMs))) return false
  if (value.signedOut === true) return true
  const { tokens, attempt } = value
  return (
    typeof value.grant === 'string' &&
    Number.isFinite(value.savedAtMs) &&
    isObject(tokens) &&
    typeof tokens.accessToken === 'string' &&
    typeof tokens.tokenType === 'string' &&
    optional(tokens.refreshToken, 'string') &&
    optional(tokens.expiresAtMs, 'number') &&
    optional(tokens.scope, 'string') &&
    optional(tokens.idToken, 'string') &&
    optional(tokens.jkt, 'string') &&
    (attempt === undefined ||
      (isObject(attempt) && typeof attempt.atMs === 'number' && optional(attempt.retryAtMs, 'number')))
  )
}

/** A random name for a sign-in or a context. It identifies and protects nothing, so `Math.random` will do where there is no crypto. */
export function randomId(): string {
  const bytes = new Uint8Array(16)
  const { crypto } = globalThis as { crypto?: Partial<Crypto> }
  if (crypto?.getRandomValues) crypto.getRandomValues(bytes)
  else for (let index = 0; index < bytes.length; index++) bytes[index] = Math.random() * 256
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
}
