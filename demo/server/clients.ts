import { randomUUID } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import type { Clock } from './environment.ts'
import { hashPassword } from './passwords.ts'
import { digest, randomSecret } from './secrets.ts'

export interface Client {
  readonly id: string
  readonly name: string
  /** Undefined for a public client (RFC 6749 §2.1). */
  readonly secretHash: string | undefined
  /** An app of the house, which may use POST /token/refresh. */
  readonly firstParty: boolean
  readonly scopes: readonly string[]
  /** Where it may call from, addresses and ranges; empty for anywhere. */
  readonly addresses: readonly string[]
}

export interface NewClient {
  id?: string
  name: string
  public: boolean
  firstParty: boolean
  scopes: readonly string[]
  addresses: readonly string[]
}

type Row = {
  id: string
  name: string
  secret_hash: string | null
  first_party: number
  scopes: string
  addresses: string
}

export type Clients = ReturnType<typeof clientStore>

export function clientStore(database: DatabaseSync, clock: Clock) {
  const select = database.prepare('SELECT * FROM clients WHERE id = ?')
  const insert = database.prepare(
    'INSERT OR IGNORE INTO clients (id, name, secret_hash, first_party, scopes, addresses, created_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?)',
  )
  const insertKey = database.prepare('INSERT INTO api_keys (id, client_id, hash, created_at_ms) VALUES (?, ?, ?, ?)')
  const deleteKey = database.prepare('DELETE FROM api_keys WHERE client_id = ? AND id = ?')
  const selectByKey = database.prepare(
    'SELECT clients.* FROM api_keys JOIN clients ON clients.id = client_id WHERE hash = ?',
  )

  return {
    /** The secret is in the answer, and nowhere else. */
    async create(client: NewClient): Promise<{ id: string; secret?: string }> {
      const id = client.id ?? randomUUID()
      const secret = client.public ? undefined : randomSecret('lks')
      const hash = secret === undefined ? null : await hashPassword(secret)
      insert.run(id, client.name, hash, Number(client.firstParty), list(client.scopes), list(client.addresses), clock())
      return secret === undefined ? { id } : { id, secret }
    },

    find(id: string): Client | undefined {
      return client(select.get(id) as Row | undefined)
    },

    /** Another key beside those that there are: first the new one is rolled out, then the old one revoked. */
    issueKey(clientId: string): { id: string; key: string } {
      const id = randomUUID()
      const key = randomSecret('lkk')
      insertKey.run(id, clientId, digest(key), clock())
      return { id, key }
    },

    revokeKey(clientId: string, keyId: string): boolean {
      return deleteKey.run(clientId, keyId).changes > 0
    },

    findByKey(key: string): Client | undefined {
      return client(selectByKey.get(digest(key)) as Row | undefined)
    },
  }
}

function client(row: Row | undefined): Client | undefined {
  if (!row) return undefined
  return {
    id: row.id,
    name: row.name,
    secretHash: row.secret_hash ?? undefined,
    firstParty: row.first_party === 1,
    scopes: words(row.scopes),
    addresses: words(row.addresses),
  }
}

const list = (items: readonly string[]) => items.join(' ')
const words = (text: string) => text.split(' ').filter(Boolean)
