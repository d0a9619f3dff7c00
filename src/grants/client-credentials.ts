import type { Grant, GrantContext } from '../ports/grant.ts'
import { type ClientOptions, createTokenEndpoint, type ServerOptions } from './token-endpoint.ts'

/**
 * The client itself is the user (RFC 6749 §4.4). Headless: the session signs in at its first call, under the lock of its storage, so that
 * replicas make one call; it renews by signing in again, and never after a `signOut()`. `signIn()` takes nothing.
 * A refusal of the client or its scope is `sign_in_failed`, a server that is not there `unreachable`; both are remembered for a moment, so
 * that a wrong secret is no storm of requests.
 * @param options `clientAuth` takes `privateKeyJwt(key)` and `clientSecretJwt(secret)` of `latchkey/oauth` (RFC 7523) beside a secret.
 * @throws SessionError `misconfigured`
 */
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
