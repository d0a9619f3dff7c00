/**
 * What an authorization server appends to the redirect URI (RFC 6749 §4.1.2, RFC 9207, OpenID Connect Session Management). Some add
 * to their errors: Entra ID's `error_subcode`.
 */
const answerField = /^(code|state|iss|error(_\w+)?|session_state)(=|$)/

/** The parameters of an answer, or `undefined` where the URL is none. */
export function answerOf(url: string | undefined): (URLSearchParams & { state: string }) | undefined {
  if (!url) return undefined
  const query = /\?([^#]*)/.exec(url)?.[1]
  const parameters = new URLSearchParams(query)
  const state = parameters.get('state')
  if (!state || !(parameters.get('code') || parameters.get('error'))) return undefined
  return Object.assign(parameters, { state })
}

/** Takes the answer out of the address bar and the history: the app's own parameters and the hash stay as they are written. Gives the clean address. */
export function cleanAddress(url: string): string | undefined {
  const { location, history } = globalThis
  if (location?.href !== url || typeof history?.replaceState !== 'function') return undefined
  history.replaceState(history.state, '', cleaned(url))
  return location.href
}

function cleaned(url: string): string {
  const [, path = '', query = '', hash = ''] = /^([^?#]*)\??([^#]*)(#.*)?$/.exec(url) ?? []
  const own = query.split('&').filter(pair => pair && !answerField.test(pair))
  return `${path}${own.length ? `?${own.join('&')}` : ''}${hash}`
}

/** Whether an answer came in at the redirect URI. Static servers add or drop a slash. */
export const isAt = (url: string, redirectUri: string): boolean => place(url) === place(redirectUri)

const place = (url: string) => url.replace(/[?#].*$/, '').replace(/\/$/, '')
