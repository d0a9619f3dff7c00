import type { Grant } from '../ports/grant.ts'
import { SessionError } from '../values/errors.ts'
import type { TokenSet } from '../values/token-set.ts'
import { type ClientOptions, createTokenEndpoint, hasRefreshToken, type ServerOptions } from './token-endpoint.ts'

export type RefreshTokenGrantOptions = ServerOptions &
  ClientOptions & {
    /** A first refresh token; with it the grant is headless. Without it, tokens come through `session.adopt()`. */
    refreshToken?: string | (() => string | Promise<string>)
    /** A first-party endpoint that renews: POST JSON `{ refresh_token }`, 401 for a dead one. */
    refreshEndpoint?: string
  }

/** Renews with a refresh token that was obtained elsewhere (RFC 6749 §6). */
export function refreshTokenGrant(options: RefreshTokenGrantOptions): Grant<void> {
  const endpoint = createTokenEndpoint(options)
  const { refreshToken } = options
  return {
    name: 'refresh_token',
    headless: refreshToken !== undefined,
    async signIn(_input, context) {
      const first = typeof refreshToken === 'function' ? await refreshToken() : refreshToken
      if (!first)
        throw new SessionError(
          'misconfigured',
          'No refresh token. Pass refreshToken, or call session.adopt() with tokens.',
        )
      const tokens: TokenSet = { accessToken: '', tokenType: 'Bearer', refreshToken: first }
      const response = await endpoint.refresh(tokens, context)
      // RFC 6749 §6: an answer without a refresh token keeps the one that was sent.
      return response?.refresh_token ? response : { ...response, refresh_token: first }
    },
    renew: (tokens, context) => endpoint.refresh(tokens, context),
    revoke: endpoint.revoke,
    canRenew: hasRefreshToken,
  }
}
