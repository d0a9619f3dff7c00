import { SessionError } from '../values/errors.ts'
import { awaitAnswer } from './answer-channel.ts'
import { assertOwnOrigin, type Opener } from './open.ts'

/** Times are milliseconds, lengths CSS pixels. */
export interface PopupOptions {
  /** @default 480 */
  width?: number
  /** @default 640 */
  height?: number
  /** How long the user may take. @default 300_000 */
  timeoutMs?: number
}

const lookMs = 300
// Looks at a closed window with the focus here again, before it counts as closed by the user.
const patience = 3

/**
 * Signs in within a popup; `completeSignIn()` of the redirect page hands the answer over. `popup_blocked` where the browser opens none,
 * `sign_in_cancelled` when the user closes it or takes too long.
 */
export function popup({ width = 480, height = 640, timeoutMs = 300_000 }: PopupOptions = {}): Opener {
  return {
    prepare({ redirectUri }) {
      assertOwnOrigin(redirectUri)
      const { screenX = 0, screenY = 0, outerWidth = width, outerHeight = height } = globalThis
      const left = Math.round(screenX + (outerWidth - width) / 2)
      const top = Math.round(screenY + (outerHeight - height) / 2)
      const features = `popup,width=${width},height=${height},left=${left},top=${top}`
      const shown = globalThis.open?.('about:blank', '_blank', features)
      if (!shown) {
        throw new SessionError(
          'popup_blocked',
          'The browser opened no popup. Call signIn directly in a click handler, or use open: redirect().',
        )
      }
      let stop = () => {}
      return {
        isHandedOver: true,
        go: (url, state) =>
          new Promise((resolve, reject) => {
            const cancel = (message: string) => reject(new SessionError('sign_in_cancelled', message))
            const stopListening = awaitAnswer(state, resolve)
            const timer = setTimeout(() => cancel(`Nobody signed in within ${timeoutMs} ms.`), timeoutMs)
            let closedFor = 0
            const look = setInterval(() => {
              // Cross-Origin-Opener-Policy makes a popup look closed that is not: then the focus is still there, not here.
              closedFor = shown.closed && globalThis.document.hasFocus() ? closedFor + 1 : 0
              if (closedFor > patience) cancel('The popup was closed.')
            }, lookMs)
            stop = () => {
              stopListening()
              clearTimeout(timer)
              clearInterval(look)
            }
            shown.location.replace(url)
          }),
        close() {
          stop()
          shown.close()
        },
      }
    },
  }
}
