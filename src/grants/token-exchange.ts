import { genericTokenEndpointRequest } from 'oauth4webapi'
import type { Grant, GrantContext } from '../ports/grant.ts'
import {
  createOAuthClient,
  type EndpointOptions,
  type IssuerOptions,
  type RenewalTarget,
  readTokens,
  withoutEmpty,
} from './authorization-server.ts'
import type { ClientOptions } from './token-endpoint.ts'

export type TokenExchangeOptions = IssuerOptions &
  EndpointOptions &
  ClientOptions & {
    /** The token to exchange, asked for at each exchange: another session's `getAccessToken`, for example. */
    subjectToken: () => string | Promise<string>
    /** RFC 8693 §3. @default 'urn:ietf:params:oauth:token-type:access_token' */
    subjectTokenType?: string
    /** The logical name of the service that the token is for (RFC 8693 §2.1); `resource` is its address. */
    audience?: string
  }

/**
 * Exchanges somebody else's token for one of its own (RFC 8693). Headless: at the first call, and again instead of a renewal, so no
 * refresh token is kept. Where the server takes no such token, calls reject `sign_in_failed`; where it is down, `unreachable`.
 * @throws SessionError `misconfigured` without issuer, server or tokenEndpoint
 */
export function tokenExchange(options: TokenExchangeOptions): Grant<void> {
  const client = createOAuthClient(options)
  const { subjectTokenType = 'urn:ietf:params:oauth:token-type:access_token' } = options

  async function exchange(context: GrantContext & { target?: RenewalTarget | undefined }) {
    const fields = withoutEmpty({
      ...options.parameters,
      subject_token: await options.subjectToken(),
      subject_token_type: subjectTokenType,
      audience: options.audience,
      scope: context.target?.scope ?? options.scope,
      resource: context.target?.resource ?? [options.resource].flat()[0],
    })
    const { response } = await client.exchange('token_endpoint', context, (as, known, auth, sending) =>
      genericTokenEndpointRequest(as, known, auth, 'urn:ietf:params:oauth:grant-type:token-exchange', fields, sending),
    )
    // What an exchange brings beside the access token is not kept: the subject token is there to ask again.
    const { refresh_token: _unused, ...tokens } = await readTokens(response)
    return tokens
  }

  return {
    name: 'token_exchange',
    headless: true,
    signIn: (_input, context) => exchange(context),
    renew: (_tokens, context) => exchange(context),
    revoke: client.revoke,
  }
}
