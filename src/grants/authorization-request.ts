import { allowInsecureRequests, customFetch } from 'oauth4webapi'
import type { TokenBinding } from '../ports/dpop.ts'
import { isSessionError, SessionError } from '../values/errors.ts'

const loopback = /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/

/** @throws SessionError `misconfigured`: nothing of a sign-in travels in the clear, but on this machine */
export function assertSecure(url: string): void {
  const { protocol, hostname } = new URL(url)
  if (protocol === 'https:' || (protocol === 'http:' && loopback.test(hostname))) return
  throw new SessionError(
    'misconfigured',
    'The authorization server is not reached by https. Only loopback may be http.',
  )
}

interface RequestContext {
  readonly fetch: typeof fetch
  readonly signal: AbortSignal
}

/** What oauth4webapi needs to send by the session's fetch. Whatever fails below HTTP is an Error that repeats nothing of the request. */
export function requestOptions(
  { fetch, signal }: RequestContext,
  binding?: TokenBinding | undefined,
  onAnswer?: (wantsNonce: boolean) => void,
) {
  return {
    signal,
    // Judged by assertSecure, which lets http pass on loopback only.
    [allowInsecureRequests]: true,
    async [customFetch](
      url: string,
      init: { method: string; headers: Record<string, string>; body?: unknown },
    ): Promise<Response> {
      assertSecure(url)
      const request = { method: init.method, url }
      const headers = { ...init.headers, ...(await binding?.proof(request)) }
      let response: Response
      try {
        // React Native's fetch sends nothing of a URLSearchParams.
        const body = init.body instanceof URLSearchParams ? { body: `${init.body}` } : {}
        response = await fetch(url, { ...init, ...body, headers } as RequestInit)
      } catch (error) {
        if (isSessionError(error) || signal.aborted) throw error
        throw new Error(`The authorization server could not be reached (${(error as Error | undefined)?.name}).`)
      }
      if (binding) onAnswer?.(await binding.keepNonce(response, request))
      return response
    },
  }
}
