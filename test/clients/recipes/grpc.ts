import { type CallCredentials, type ClientReadableStream, credentials, Metadata, status } from '@grpc/grpc-js'
import type { Session } from 'latchkey'

// #region recipe
/** Asks the session at each call. gRPC takes credentials of calls over TLS only, and no more of an error than its message and number. */
export function sessionCredentials(
  session: Pick<Session, 'authorizationHeaders'>,
  origin: string, // of the resources; what gRPC tells the generator lacks the port
): CallCredentials {
  return credentials.createFromMetadataGenerator((_, callback) => {
    session.authorizationHeaders(origin, { method: 'POST' }).then(
      headers => {
        const metadata = new Metadata()
        for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
        callback(null, metadata)
      },
      ({ message, retryable }) => {
        const code = retryable ? status.UNAVAILABLE : status.UNAUTHENTICATED
        callback(Object.assign(new Error(message), { code }))
      },
    )
  })
}

/** A call whose token the server does not like any more is made once more, with another one. */
export async function withSession<T>(
  session: Pick<Session, 'getAccessToken' | 'renew'>,
  call: () => Promise<T>,
): Promise<T> {
  // Rejects `signed_out` when there is no session any more.
  const token = await session.getAccessToken()
  try {
    return await call()
  } catch (error) {
    if ((error as { code?: unknown }).code !== status.UNAUTHENTICATED) throw error
    // Another call may have brought another token meanwhile.
    if ((await session.getAccessToken()) === token) await session.renew()
    return call()
  }
}

/** Follows a stream of the server until `signal` aborts or the session ends, with a token of its own for each connection. */
export async function follow<T>(
  session: Pick<Session, 'getAccessToken' | 'renew'>,
  open: () => ClientReadableStream<T>,
  onItem: (item: T) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let pauseMs = 500; !signal.aborted; pauseMs = Math.min(2 * pauseMs, 30_000)) {
    const token = await session.getAccessToken({ signal })
    const code = await new Promise(resolve => {
      const stream = open()
      signal.addEventListener('abort', () => stream.cancel(), { once: true })
      stream.on('data', item => {
        pauseMs = 500
        onItem(item)
      })
      stream.on('end', resolve)
      stream.on('error', error => resolve((error as { code?: unknown }).code))
    })
    if (signal.aborted) return
    if (code === status.UNAUTHENTICATED && (await session.getAccessToken({ signal })) === token) await session.renew()
    await new Promise(resolve => setTimeout(resolve, pauseMs))
  }
}
// #endregion
