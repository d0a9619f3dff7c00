import { type IntrospectionResponse, introspectionRequest, processIntrospectionResponse } from 'oauth4webapi'
import type { GrantContext } from '../ports/grant.ts'
import { createOAuthClient, endpointError, type IssuerOptions } from './authorization-server.ts'
import type { ClientOptions } from './token-endpoint.ts'

export type IntrospectOptions = IssuerOptions &
  ClientOptions & {
    /** Instead of issuer or server. */
    introspectionEndpoint?: string
    /** @default globalThis.fetch */
    fetch?: typeof fetch
    /** Ends the request; the promise rejects with its reason. @default none: it may take 30 s */
    signal?: AbortSignal
  }

/**
 * Asks the authorization server about a token (RFC 7662), for services that get one. Resolves with its answer: `active`, and what it is for.
 * Rejects with `misconfigured`, or with an Error whose `status` and `error` are the server's: a wrong client secret is no inactive token.
 */
export async function introspect(token: string, options: IntrospectOptions): Promise<IntrospectionResponse> {
  const { introspectionEndpoint: endpoint, parameters = {} } = options
  const server = endpoint ? { issuer: new URL(endpoint).origin, introspection_endpoint: endpoint } : options.server
  const client = createOAuthClient(server ? { ...options, server } : options)
  const context: GrantContext = {
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    signal: options.signal ?? new AbortController().signal,
    nowMs: Date.now,
    minIntervalMs: 0,
  }
  const answer = await client.exchange('introspection_endpoint', context, (as, known, auth, sending) =>
    introspectionRequest(as, known, auth, token, { ...sending, additionalParameters: parameters }),
  )
  if (!answer.response.ok) throw await endpointError(answer.response)
  try {
    return await processIntrospectionResponse(answer.as, answer.client, answer.response)
  } catch {
    // Its own error holds the answer.
    throw new Error('The answer of the introspection endpoint could not be read (RFC 7662 §2.2).')
  }
}
