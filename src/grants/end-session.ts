import type { Grant, GrantContext } from '../ports/grant.ts'
import { SessionError } from '../values/errors.ts'
import { sleep } from '../values/timers.ts'
import type { OAuthClient } from './authorization-server.ts'

// A navigation cuts the revocation that is on its way.
const revocationHeadStartMs = 1000

/** How a session ends at its server too: revocation (RFC 7009), and OpenID Connect RP-Initiated Logout 1.0 by navigation. */
export function createEndSession(
  client: OAuthClient,
  clientId: string | undefined,
): Required<Pick<Grant, 'revoke' | 'endSession'>> {
  let revocation: Promise<void> | undefined
  return {
    revoke(tokens, context) {
      revocation = client.revoke(tokens, context)
      return revocation
    },
    async endSession({ idToken }, { postLogoutRedirectUri }, context) {
      const endpoint = await endpointOf(client, context)
      if (!endpoint) return
      const url = new URL(endpoint)
      const fields = {
        id_token_hint: idToken,
        client_id: clientId,
        post_logout_redirect_uri: postLogoutRedirectUri,
      }
      for (const [name, value] of Object.entries(fields)) if (value) url.searchParams.set(name, value)
      if (revocation) await Promise.race([revocation.catch(() => undefined), sleep(revocationHeadStartMs)])
      if (!globalThis.document || !globalThis.location) {
        throw new SessionError(
          'misconfigured',
          'There is no document to navigate: endSession ends a session in browsers.',
        )
      }
      // The browser's page about a missing network would take the place of the app.
      if (globalThis.navigator?.onLine === false) return
      globalThis.location.assign(url.href)
    },
  }
}

/** The local end is done: a server that is not there changes nothing about it. */
async function endpointOf(client: OAuthClient, context: GrantContext): Promise<string | undefined> {
  try {
    return (await client.metadata(context)).end_session_endpoint
  } catch {
    return undefined
  }
}
