import type { Grant } from '../ports/grant.ts'
import {
  type BodyFormat,
  type ClientOptions,
  createTokenEndpoint,
  hasRefreshToken,
  type ServerOptions,
} from './token-endpoint.ts'

export type PasswordGrantOptions = ServerOptions &
  ClientOptions & {
    /** How the token endpoint takes its parameters. @default 'form' */
    bodyFormat?: BodyFormat
    /** A first-party endpoint that renews: POST JSON `{ refresh_token }`, 401 for a dead one. */
    refreshEndpoint?: string
  }

/** User name and password, for first-party APIs (RFC 6749 §4.3). `session.signIn({ username, password })`. */
export function passwordGrant(options: PasswordGrantOptions): Grant<{ username: string; password: string }> {
  const endpoint = createTokenEndpoint(options)
  return {
    name: 'password',
    signIn: ({ username, password }, context) =>
      endpoint.request({ grant_type: 'password', username, password }, context, options.bodyFormat),
    renew: (tokens, context) => endpoint.refresh(tokens, context, options.bodyFormat),
    revoke: endpoint.revoke,
    canRenew: hasRefreshToken,
  }
}
