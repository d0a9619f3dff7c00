import { randomUUID } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { transaction } from './database.ts'
import type { Clock } from './environment.ts'
import { digest, randomSecret } from './secrets.ts'

/** One sign-in: all tokens that descend from it carry its `sid`, and die with it. */
export interface Family {
  readonly sid: string
  readonly clientId: string
  /** The username, or the client's id where it acts for itself. */
  readonly subject: string
  readonly scope: string
}

export interface RefreshTokenOptions {
  ttlMs: number
  /** `near-expiry`: a token stays the same until the last quarter of its life. */
  rotation: 'always' | 'near-expiry'
  /** How long a spent token still gets a successor, for clients that lost the answer or race with themselves. */
  reuseWindowMs: number
}

export type Rotation =
  | { outcome: 'rotated'; family: Family; refreshToken: string }
  | { outcome: 'kept'; family: Family }
  | { outcome: 'reused'; family: Family }
  | { outcome: 'refused' }

export interface FoundToken {
  family: Family
  issuedAtMs: number
  expiresAtMs: number
  /** Unspent, not expired, of a family that lives. */
  active: boolean
}

type Row = {
  sid: string
  client_id: string
  subject: string
  scope: string
  revoked: number
  issued_at_ms: number
  expires_at_ms: number
  spent_at_ms: number | null
}

export type RefreshTokens = ReturnType<typeof refreshTokenStore>

export function refreshTokenStore(database: DatabaseSync, clock: Clock, options: RefreshTokenOptions) {
  const select = database.prepare('SELECT * FROM refresh_tokens JOIN families USING (sid) WHERE hash = ?')
  const insert = database.prepare(
    'INSERT INTO refresh_tokens (hash, sid, issued_at_ms, expires_at_ms) VALUES (?, ?, ?, ?)',
  )
  const spend = database.prepare('UPDATE refresh_tokens SET spent_at_ms = ? WHERE hash = ? AND spent_at_ms IS NULL')
  const insertFamily = database.prepare('INSERT INTO families (sid, client_id, subject, scope) VALUES (?, ?, ?, ?)')
  const revokeFamily = database.prepare('UPDATE families SET revoked = 1 WHERE sid = ? AND revoked = 0')
  const liveFamily = database.prepare('SELECT 1 FROM families WHERE sid = ? AND revoked = 0')

  const found = (token: string) => select.get(digest(token)) as Row | undefined

  function issue(sid: string): string {
    const token = randomSecret('lkr')
    insert.run(digest(token), sid, clock(), clock() + options.ttlMs)
    return token
  }

  return {
    /** A new sign-in. It has no refresh token until one is issued. */
    start(of: Omit<Family, 'sid'>): Family {
      const family = { sid: randomUUID(), ...of }
      insertFamily.run(family.sid, family.clientId, family.subject, family.scope)
      return family
    },

    issue,

    /**
     * Spends a token of this client (RFC 6749 §6, RFC 9700 §4.14.2). Simple rules:
     * - unknown, expired, another client's, or of a family that was revoked: refused, and nothing changes;
     * - spent before, and longer ago than the window: two hold it, one of them a thief, so the family is revoked;
     * - young, where rotation waits for the expiry: it stays as it is;
     * - else it is spent and has a successor. One that was spent within the window gets a further successor.
     */
    rotate(token: string, clientId: string): Rotation {
      return transaction(database, () => {
        const row = found(token)
        const nowMs = clock()
        if (!row || row.client_id !== clientId || row.revoked || row.expires_at_ms <= nowMs) {
          return { outcome: 'refused' }
        }
        const family = familyOf(row)
        if (row.spent_at_ms !== null && nowMs - row.spent_at_ms >= options.reuseWindowMs) {
          revokeFamily.run(row.sid)
          return { outcome: 'reused', family }
        }
        const isYoung = row.expires_at_ms - nowMs > (row.expires_at_ms - row.issued_at_ms) / 4
        if (options.rotation === 'near-expiry' && isYoung && row.spent_at_ms === null) {
          return { outcome: 'kept', family }
        }
        spend.run(nowMs, digest(token))
        return { outcome: 'rotated', family, refreshToken: issue(row.sid) }
      })
    },

    /** Looks without touching: neither a use nor a reuse. */
    find(token: string): FoundToken | undefined {
      const row = found(token)
      if (!row) return undefined
      return {
        family: familyOf(row),
        issuedAtMs: row.issued_at_ms,
        expiresAtMs: row.expires_at_ms,
        active: !row.revoked && row.spent_at_ms === null && row.expires_at_ms > clock(),
      }
    },

    /** Ends the family, access tokens included; false when it had ended before. */
    revoke(sid: string): boolean {
      return revokeFamily.run(sid).changes > 0
    },

    isLive(sid: string): boolean {
      return liveFamily.get(sid) !== undefined
    },
  }
}

function familyOf(row: Row): Family {
  return { sid: row.sid, clientId: row.client_id, subject: row.subject, scope: row.scope }
}
