import { SessionError } from '../values/errors.ts'
import { type Outgoing, redirected } from '../values/outgoing.ts'
import { fetchBase } from '../values/resources.ts'

interface RedirectOptions {
  /** Sends once, with `redirect: 'manual'`; attaches only where the URL is inside the resources. */
  readonly send: (request: Outgoing) => Promise<Response>
  readonly discard: (response: Response) => void
  /** This fetch followed although it was told not to (React Native's). */
  readonly onIgnored: () => void
}

// As platforms do (Fetch standard, HTTP-redirect fetch).
const mostHops = 20
const redirectStatuses = [301, 302, 303, 307, 308]

/**
 * Follows redirects for a credential that platforms would carry anywhere: they drop `Authorization` across origins, and nothing else.
 * Where the platform hides Location (browsers), the redirect is an error that says so.
 */
export async function followRedirects(
  first: Outgoing,
  { send, discard, onIgnored }: RedirectOptions,
): Promise<Response> {
  let request = first
  for (let hops = 0; ; hops++) {
    const response = await send(request)
    if (response.redirected || isElsewhere(request.url, response.url)) onIgnored()
    const { status, type } = response
    const location = redirectStatuses.includes(status) ? response.headers.get('location') : undefined
    if (type !== 'opaqueredirect' && !location) return response
    const target = location ? new URL(location, request.url) : undefined
    // Never to data:, blob: or file:, which a fetch would read.
    const canFollow = target && /^https?:$/.test(target.protocol) && hops < mostHops && !request.isOneShot
    const next = canFollow ? redirected(request, target.href, status) : undefined
    discard(response)
    if (!next) throw refusal(request, hops)
    request = next
  }
}

function refusal({ method, url }: Outgoing, hops: number): SessionError {
  const why = hops >= mostHops ? ` more than ${mostHops} times` : ', and its credential must not go along unseen'
  return new SessionError(
    'redirect_refused',
    `${method} ${url.replace(/[?#].*/, '')} redirects${why}. Call the final URL, or set redirects: 'platform'.`,
  )
}

/** By the URLs: React Native's Response has no `redirected`, and a fetch that follows by itself may not say so. */
export const isElsewhere = (asked: string, answered: string) =>
  !!answered && withoutHash(new URL(asked, fetchBase() ?? answered).href) !== withoutHash(answered)

const withoutHash = (url: string) => url.replace(/#.*/, '')
