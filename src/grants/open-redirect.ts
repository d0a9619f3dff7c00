import { SessionError } from '../values/errors.ts'
import { assertOwnOrigin, type Opener } from './open.ts'

/**
 * Leaves the page for the authorization server; `session.completeSignIn()` on the redirect URI finishes. The default in a document, and
 * `misconfigured` elsewhere. `signIn` stays pending; back out of the page cache it is `sign_in_cancelled`. What it has to remember
 * (the PKCE verifier, state, nonce, appState) lies in the tab's sessionStorage until the answer comes.
 */
export function redirect(): Opener {
  return {
    prepare({ redirectUri, signal }) {
      const { location } = globalThis
      if (!globalThis.document || !location) {
        throw new SessionError(
          'misconfigured',
          'There is no document to redirect. Pass open: loopback() of latchkey/node, or a function.',
        )
      }
      assertOwnOrigin(redirectUri)
      let stop = () => {}
      return {
        leavesPage: true,
        go: url =>
          new Promise((_, reject) => {
            // Back from the authorization server, out of the page cache: this sign-in is not going on any more.
            const onShow = ({ persisted }: PageTransitionEvent) => {
              if (persisted) reject(new SessionError('sign_in_cancelled', 'The user came back without signing in.'))
            }
            globalThis.addEventListener('pageshow', onShow)
            stop = () => globalThis.removeEventListener('pageshow', onShow)
            if (!signal.aborted) location.assign(url)
          }),
        close: () => stop(),
      }
    },
  }
}
