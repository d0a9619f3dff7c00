import { oauthError } from './errors.ts'

export const knownScopes = ['collect', 'activity']

/** The words of a scope parameter (RFC 6749 §3.3), each once. */
export function scopeWords(scope: string): string[] {
  return [...new Set(scope.split(' ').filter(Boolean))]
}

/** What was asked for, if all of it is allowed; all that is allowed, if nothing was. Throws `invalid_scope`. */
export function grantedScope(asked: string | undefined, allowed: readonly string[]): string {
  if (asked === undefined) return allowed.join(' ')
  const words = scopeWords(asked)
  if (words.length === 0) throw oauthError('invalid_scope', 'The scope names nothing.')
  if (words.some(word => !allowed.includes(word))) {
    throw oauthError('invalid_scope', `This goes beyond what is allowed, which is: ${allowed.join(' ')}`)
  }
  return words.join(' ')
}
