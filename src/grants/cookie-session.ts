import type { Grant, GrantContext } from '../ports/grant.ts'
import { refused } from '../values/errors.ts'
import { within } from '../values/timers.ts'
import type { TokenResponse } from '../values/token-set.ts'
import { errorCode, TokenEndpointError } from './endpoint-error.ts'

export interface CookieSessionOptions {
  /** POST with the cookie: 200 with a token response, 401 where there is no session. A view (`session.for`) sends `{ resource, scope }` as JSON. */
  refreshEndpoint: string
  /** POST with the input of `session.signIn(input)` as JSON: 200 with a token response, 401 for a wrong password. */
  signInEndpoint?: string
  /** POST that forgets the cookie. Without it a signOut is local, and the cookie lives. */
  signOutEndpoint?: string
  /** A header that a form of another site cannot send; a function is asked at each request. @default { header: 'x-csrf', value: '1' } */
  csrf?: { header: string; value: string | (() => string) }
}

const timeoutMs = 30_000

/**
 * The refresh token is an HttpOnly cookie of the app's own backend: nothing secret in JavaScript but the short-lived access token.
 * Headless, at the start: a reload signs in by itself where the cookie lives. Never after a signOut, until `session.signIn(input)`.
 * A 401 of the refresh endpoint ends the session; a 5xx or no network is `unreachable` and keeps it. A 401 of the sign-in endpoint is
 * `sign_in_failed`. Each request may take 30 s.
 */
export function cookieSession(options: CookieSessionOptions): Grant<unknown> {
  const { refreshEndpoint, signInEndpoint, signOutEndpoint, csrf = { header: 'x-csrf', value: '1' } } = options

  async function post(url: string, input: unknown, context: GrantContext): Promise<TokenResponse> {
    const value = typeof csrf.value === 'function' ? csrf.value() : csrf.value
    const isJson = input !== undefined
    let response: Response
    let body: unknown
    try {
      response = await context.fetch(url, {
        method: 'POST',
        credentials: 'include',
        // Following one would turn the POST into a GET of a login page.
        redirect: 'manual',
        headers: {
          Accept: 'application/json',
          [csrf.header]: value,
          ...(isJson && { 'Content-Type': 'application/json' }),
        },
        ...(isJson && { body: JSON.stringify(input) }),
        signal: context.signal,
      })
      body = parse(await response.text())
    } catch (error) {
      throw new Error(`The backend could not be reached (${(error as Error | undefined)?.name}).`)
    }
    const answer = (body ?? {}) as TokenResponse & { error?: unknown }
    if (response.ok) {
      // It belongs into the cookie: what does not get here can't be stolen here.
      const { refresh_token: _unwanted, ...tokens } = answer
      return tokens
    }
    throw new TokenEndpointError(
      response.status,
      errorCode(answer.error),
      response.headers.get('retry-after') ?? undefined,
    )
  }

  const refresh = (context: GrantContext) =>
    post(refreshEndpoint, context.target, context).catch(error => {
      throw error.status === 401 ? refused(error) : error
    })

  const bounded = async <T>(work: Promise<T>): Promise<T> =>
    // Not thrown at once: this runs in a timer, where nobody would catch it.
    within(work, timeoutMs, async (): Promise<never> => {
      throw new Error(`The backend did not answer within ${timeoutMs} ms.`)
    })

  return {
    name: 'cookie',
    headless: 'at-start',
    signIn: (input, context) =>
      bounded(input !== undefined && signInEndpoint ? post(signInEndpoint, input, context) : refresh(context)),
    renew: (_tokens, context) => refresh(context),
    async revoke(_tokens, context) {
      if (signOutEndpoint) await bounded(post(signOutEndpoint, undefined, context))
    },
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
