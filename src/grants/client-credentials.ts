import type { Grant, GrantContext } from '../ports/grant.ts'
import { type ClientOptions, createTokenEndpoint, type ServerOptions } from './token-endpoint.ts'

/** The client itself is the user (RFC 6749 §4.4). Headless: signs in at the first call, and renews by signing in again. */
export function clientCredentials(options: ServerOptions & ClientOptions): Grant<void> {
  const endpoint = createTokenEndpoint(options)
  const request = (context: GrantContext, isSignIn: boolean) =>
    endpoint.request({ grant_type: 'client_credentials' }, context, 'form', isSignIn)
  return {
    name: 'client_credentials',
    headless: true,
    signIn: (_input, context) => request(context, true),
    renew: (_tokens, context) => request(context, false),
    revoke: endpoint.revoke,
  }
}
