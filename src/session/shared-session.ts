import { isSameUser, type TokenSet } from '../values/token-set.ts'

/**
 * A server with one session for all its users sends everybody's requests as whoever signed in last. It can be told where somebody else signs in
 * while the default storage of a Node process has a sign-in; subjects of opaque tokens are not known. The warning names nobody.
 * Tells whether it warned.
 */
export function warnsOfManyUsers(held: TokenSet | undefined, next: TokenSet): boolean {
  const { process } = globalThis as { process?: { emitWarning?(text: string, name: string): void } }
  if (!held || typeof document !== 'undefined' || !process?.emitWarning || isSameUser(held, next) !== false)
    return false
  process.emitWarning(
    'Another user signed in to a session of this process that was signed in; all its requests go out as that user now. Give each user a session: createSessions() of latchkey/node, sessions.for(userId).',
    'LatchkeyWarning',
  )
  return true
}
