import { EventSource } from 'eventsource'
import type { Session } from 'latchkey'

export function follow(session: Pick<Session, 'fetch'>, url: string) {
  // #region recipe
  // The package `eventsource` takes a fetch and calls it at each connect; the platform's own EventSource sends no headers.
  const events = new EventSource(url, { fetch: session.fetch })
  // #endregion
  return events
}
