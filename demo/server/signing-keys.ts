import { randomUUID } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { type CryptoKey, exportJWK, generateKeyPair, importJWK, type JSONWebKeySet, type JWK } from 'jose'

export interface SigningKey {
  readonly kid: string
  readonly privateKey: CryptoKey
  /** The public half, for everybody (RFC 7517 §5). */
  readonly jwks: JSONWebKeySet
}

/** The key of the database; the first start makes one. */
export async function signingKey(database: DatabaseSync, nowMs: number): Promise<SigningKey> {
  const newest = database.prepare('SELECT kid, private_jwk FROM signing_keys ORDER BY created_at_ms DESC LIMIT 1')
  if (!newest.get()) {
    const { privateKey } = await generateKeyPair('ES256', { extractable: true })
    database
      .prepare('INSERT INTO signing_keys (kid, private_jwk, created_at_ms) VALUES (?, ?, ?)')
      .run(randomUUID(), JSON.stringify(await exportJWK(privateKey)), nowMs)
  }
  const row = newest.get() as { kid: string; private_jwk: string }
  const { d: _secret, ...publicHalf } = JSON.parse(row.private_jwk) as JWK
  return {
    kid: row.kid,
    privateKey: (await importJWK(JSON.parse(row.private_jwk), 'ES256')) as CryptoKey,
    jwks: { keys: [{ ...publicHalf, kid: row.kid, use: 'sig', alg: 'ES256' }] },
  }
}
