/**
 * The way from the redirect page in a popup or frame to the page that waits. Same origin only; by BroadcastChannel, since
 * Cross-Origin-Opener-Policy cuts `window.opener`.
 */
const mark = '~'
const nameOf = (state: string) => `latchkey:answer:${state}`

/** A state that says on the redirect page: another window waits for this answer. */
export const handedOverState = (state: string): string => state + mark
export const isHandedOver = (state: string): boolean => state.endsWith(mark)

export function awaitAnswer(state: string, onAnswer: (url: string) => void): () => void {
  const channel = new BroadcastChannel(nameOf(state))
  channel.onmessage = ({ data }) => {
    if (typeof data === 'string') onAnswer(data)
  }
  return () => channel.close()
}

/** Hands the answer over and closes this window, if it is a popup. */
export function handOver(state: string, url: string): void {
  const channel = new BroadcastChannel(nameOf(state))
  channel.postMessage(url)
  channel.close()
  globalThis.close?.()
}
