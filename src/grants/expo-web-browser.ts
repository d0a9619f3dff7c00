import { SessionError } from '../values/errors.ts'
import type { OpenFunction } from './open.ts'

/** What Latchkey calls of expo-web-browser. */
export interface WebBrowserLike {
  openAuthSessionAsync(url: string, redirectUrl: string): Promise<{ type: string; url?: string }>
  dismissAuthSession?(): unknown
}

/**
 * An `open` for `authorizationCode` over expo-web-browser: the system's authentication session. PKCE and the exchange stay the session's.
 * `sign_in_cancelled` when the user closes it. Hermes has no WebCrypto: PKCE needs a polyfill of `crypto.subtle`.
 */
export const expoWebBrowser =
  (WebBrowser: WebBrowserLike): OpenFunction =>
  async (authorizationUrl, { redirectUri, signal }) => {
    const dismiss = () => WebBrowser.dismissAuthSession?.()
    signal.addEventListener('abort', dismiss, { once: true })
    try {
      const result = await WebBrowser.openAuthSessionAsync(authorizationUrl, redirectUri)
      if (result.type === 'success' && result.url) return result.url
      if (result.type === 'locked') throw new Error('Another authentication session is open.')
      throw new SessionError('sign_in_cancelled', 'The browser was closed before the sign-in was done.')
    } finally {
      signal.removeEventListener('abort', dismiss)
    }
  }
