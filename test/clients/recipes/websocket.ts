import type { Session } from 'latchkey'

// #region recipe
/** Keeps a socket open until `signal` aborts or the session ends: the token is asked for at each connect, never kept. */
export async function stayConnected(
  session: Pick<Session, 'getAccessToken'>,
  url: string,
  onMessage: (data: string) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let pauseMs = 500; !signal.aborted; pauseMs = Math.min(2 * pauseMs, 30_000)) {
    // Rejects `signed_out` when there is no session any more: the loop ends with it.
    const token = await session.getAccessToken({ minValidityMs: 30_000, signal })
    await new Promise<void>(resolve => {
      const socket = new WebSocket(url)
      const close = () => socket.close()
      signal.addEventListener('abort', close)
      // In the first message and not in the URL, which ends up in logs.
      socket.onopen = () => socket.send(JSON.stringify({ token }))
      socket.onmessage = ({ data }) => {
        pauseMs = 500
        onMessage(String(data))
      }
      socket.onclose = () => {
        signal.removeEventListener('abort', close)
        resolve()
      }
    })
    // A server that is down is not stormed.
    if (!signal.aborted) await new Promise(resolve => setTimeout(resolve, pauseMs))
  }
}
// #endregion
