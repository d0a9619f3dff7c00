import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'

/** 256 random bits. The prefix tells secret scanners, and whoever finds one in a log, what it is. */
export function randomSecret(prefix: string): string {
  return `${prefix}_${randomBytes(32).toString('base64url')}`
}

/** What the database keeps of a random secret: unlike a password it can't be guessed, so no slow hash is needed. */
export function digest(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url')
}

/** Constant time, whatever the lengths: the digests are compared. */
export function sameSecret(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(digest(a)), Buffer.from(digest(b)))
}
