import type { DatabaseSync } from 'node:sqlite'
import type { Clock } from './environment.ts'

export type ActivityKind = 'sign-in' | 'renewal' | 'new-address' | 'reuse' | 'revoked'

export interface ActivityEntry {
  id: number
  kind: ActivityKind
  at: string
  client_id: string
  sid?: string
  address: string
}

/** Who did something, and from where. */
export interface Actor {
  owner: string
  clientId: string
  sid?: string
  address: string
}

type Row = { id: number; kind: ActivityKind; at_ms: number; client_id: string; sid: string | null; address: string }

const kept = 1_000

export type Activity = ReturnType<typeof activityLog>

/** What happened to the sessions of each owner; the newest 1,000 entries are kept. */
export function activityLog(database: DatabaseSync, clock: Clock) {
  const insert = database.prepare(
    'INSERT INTO activity (owner, kind, at_ms, client_id, sid, address) VALUES (?, ?, ?, ?, ?, ?) RETURNING *',
  )
  const trim = database.prepare(
    `DELETE FROM activity WHERE owner = ? AND id <= (SELECT id FROM activity WHERE owner = ? ORDER BY id DESC LIMIT 1 OFFSET ${kept})`,
  )
  const newest = database.prepare('SELECT * FROM activity WHERE owner = ? ORDER BY id DESC LIMIT ?')
  const after = database.prepare('SELECT * FROM activity WHERE owner = ? AND id > ? ORDER BY id')
  const addAddress = database.prepare('INSERT OR IGNORE INTO known_addresses (owner, address) VALUES (?, ?)')
  const countAddresses = database.prepare('SELECT count(*) AS count FROM known_addresses WHERE owner = ?')
  const listeners = new Map<(entry: ActivityEntry) => void, string>()

  function record(kind: ActivityKind, { owner, clientId, sid, address }: Actor): void {
    const entry = shown(insert.get(owner, kind, clock(), clientId, sid ?? null, address) as Row)
    trim.run(owner, owner)
    for (const [listener, wants] of listeners) if (wants === owner) listener(entry)
  }

  return {
    record,

    /** Every authenticated call comes by here. The first address of an owner is home, and no news. */
    seen(actor: Actor): void {
      if (addAddress.run(actor.owner, actor.address).changes === 0) return
      if ((countAddresses.get(actor.owner) as { count: number }).count > 1) record('new-address', actor)
    },

    newest(owner: string, limit: number): ActivityEntry[] {
      return (newest.all(owner, limit) as Row[]).map(shown)
    },

    /** What came after that entry, oldest first. */
    after(owner: string, id: number): ActivityEntry[] {
      return (after.all(owner, id) as Row[]).map(shown)
    },

    listen(owner: string, listener: (entry: ActivityEntry) => void): () => void {
      listeners.set(listener, owner)
      return () => listeners.delete(listener)
    },
  }
}

function shown({ id, kind, at_ms, client_id, sid, address }: Row): ActivityEntry {
  return { id, kind, at: new Date(at_ms).toISOString(), client_id, ...(sid !== null && { sid }), address }
}
