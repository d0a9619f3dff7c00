import { DatabaseSync } from 'node:sqlite'

// Secrets appear here only as hashes; the signing keys are the one thing that has to be stored as it is.
const schema = `
  CREATE TABLE IF NOT EXISTS signing_keys (
    kid TEXT PRIMARY KEY, private_jwk TEXT NOT NULL, created_at_ms INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS users (username TEXT PRIMARY KEY, password_hash TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS clients (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, secret_hash TEXT, first_party INTEGER NOT NULL,
    scopes TEXT NOT NULL, addresses TEXT NOT NULL, created_at_ms INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS api_keys (
    id TEXT PRIMARY KEY, client_id TEXT NOT NULL REFERENCES clients, hash TEXT NOT NULL UNIQUE,
    created_at_ms INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS families (
    sid TEXT PRIMARY KEY, client_id TEXT NOT NULL REFERENCES clients, subject TEXT NOT NULL,
    scope TEXT NOT NULL, revoked INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE IF NOT EXISTS refresh_tokens (
    hash TEXT PRIMARY KEY, sid TEXT NOT NULL REFERENCES families, issued_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL, spent_at_ms INTEGER
  ) STRICT;
  CREATE TABLE IF NOT EXISTS known_addresses (
    owner TEXT NOT NULL, address TEXT NOT NULL, PRIMARY KEY (owner, address)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS activity (
    id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, kind TEXT NOT NULL, at_ms INTEGER NOT NULL,
    client_id TEXT NOT NULL, sid TEXT, address TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS activity_of_owner ON activity (owner, id);
  CREATE TABLE IF NOT EXISTS collected (
    id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, at_ms INTEGER NOT NULL, item TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS collected_of_owner ON collected (owner, id);
`

/** Opens or creates the database; `:memory:` keeps it in this process. */
export function openDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: 5_000 })
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON')
  database.exec(schema)
  return database
}

/**
 * All of `work`, or nothing. It is synchronous, so no other request of this process comes between; IMMEDIATE takes the
 * write lock before the first read, so no other process does either.
 */
export function transaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    database.exec('COMMIT')
    return result
  } catch (error) {
    database.exec('ROLLBACK')
    throw error
  }
}
