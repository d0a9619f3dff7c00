import { readClaims } from '../values/jwt.ts'
import type { TokenSet } from '../values/token-set.ts'

/**
 * A server with one session for all its users sends everybody's requests as whoever signed in last. It can be told where somebody else signs in
 * while the default storage of a Node process has a sign-in; subjects of opaque tokens are not known. The warning names nobody.
 */
export function createManyUsersWarning(): (held: TokenSet | undefined, next: TokenSet) => void {
  let hasWarned = false
  return (held, next) => {
    const { process } = globalThis as { process?: { emitWarning?(text: string, name: string): void } }
    if (hasWarned || !held || typeof document !== 'undefined' || typeof process?.emitWarning !== 'function') return
    const [was, is] = [held, next].map(tokens => (readClaims(tokens.idToken) ?? readClaims(tokens.accessToken))?.sub)
    if (was === undefined || is === undefined || was === is) return
    hasWarned = true
    process.emitWarning(
      'Another user signed in to a session of this process that was signed in; all its requests go out as that user now. Give each user a session: createSessions() of latchkey/node, sessions.for(userId).',
      'LatchkeyWarning',
    )
  }
}
