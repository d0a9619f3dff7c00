import { SessionError } from '../values/errors.ts'
import { awaitAnswer } from './answer-channel.ts'
import { assertOwnOrigin, type Opener } from './open.ts'

/**
 * Signs in without the user where the authorization server has a session of theirs (`prompt=none` in a hidden frame).
 * Browsers hide third-party cookies from frames: it works where app and server are of one site, elsewhere expect
 * `sign_in_failed` with `login_required`. Too slow, or a server that refuses frames: `sign_in_cancelled`.
 * @param options.timeoutMs Milliseconds until it gives up. @default 10_000
 */
export function silent({ timeoutMs = 10_000 }: { timeoutMs?: number } = {}): Opener {
  return {
    prepare({ redirectUri }) {
      const { document } = globalThis
      if (!document)
        throw new SessionError('misconfigured', 'There is no document for a frame. silent() is for browsers.')
      assertOwnOrigin(redirectUri)
      const frame = document.createElement('iframe')
      frame.style.display = 'none'
      frame.title = 'Sign-in'
      let stop = () => {}
      return {
        isHandedOver: true,
        parameters: { prompt: 'none' },
        go: (url, state) =>
          new Promise((resolve, reject) => {
            const stopListening = awaitAnswer(state, resolve)
            const timer = setTimeout(
              () => reject(new SessionError('sign_in_cancelled', `No answer came within ${timeoutMs} ms.`)),
              timeoutMs,
            )
            stop = () => {
              stopListening()
              clearTimeout(timer)
            }
            frame.src = url
            // A script in the head runs before there is a body.
            ;(document.body ?? document.documentElement).append(frame)
          }),
        close() {
          stop()
          frame.remove()
        },
      }
    },
  }
}
