/** One challenge of a WWW-Authenticate header (RFC 9110 §11.6.1). */
export interface Challenge {
  /** Lower case; empty where the header names no scheme, as some servers do. */
  readonly scheme: string
  /** Names in lower case, quoted strings unquoted. */
  readonly parameters: Readonly<Record<string, string>>
}

const token = "[!#$%&'*+.^_`|~\\w-]+"
// name = "quoted" | name = bare | a word that opens a challenge
const part = new RegExp(`(${token})(?:\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s,"]*)))?`, 'g')

/** The challenges in one header value, which may hold several: `Negotiate, Bearer realm="a, b", error="invalid_token"`. */
export function parseChallenges(header: string | null): Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = []
  for (const [, name = '', quoted, bare] of (header ?? '').matchAll(part)) {
    const value = quoted?.replace(/\\(.)/g, '$1') ?? bare
    if (value === undefined) challenges.push({ scheme: name.toLowerCase(), parameters: {} })
    else {
      if (!challenges.length) challenges.push({ scheme: '', parameters: {} })
      const last = challenges[challenges.length - 1] as (typeof challenges)[number]
      last.parameters[name.toLowerCase()] ??= value
    }
  }
  return challenges
}

const tokenSchemes = ['bearer', 'dpop', '']

/** What the resource server says about the token: the challenge of a token scheme that names an error (RFC 6750 §3.1, RFC 9449 §7.1, RFC 9470 §3). */
export const tokenChallenge = (response: Response): Challenge['parameters'] | undefined =>
  parseChallenges(response.headers.get('www-authenticate')).find(
    ({ scheme, parameters }) => tokenSchemes.includes(scheme) && parameters.error,
  )?.parameters

/** The default of `isAuthFailure`: a 401, unless the server says that another token of the same kind would not help. */
export const isTokenRejected = (response: Response, challenge = tokenChallenge(response)): boolean =>
  response.status === 401 &&
  challenge?.error !== 'invalid_request' &&
  // RFC 9449 §9: the same token with another nonce.
  challenge?.error !== 'use_dpop_nonce' &&
  !(challenge && asksForMore(challenge))

/** The token is good, but not good enough. */
export const asksForMore = ({ error }: Challenge['parameters']): boolean =>
  error === 'insufficient_scope' || error === 'insufficient_user_authentication'
