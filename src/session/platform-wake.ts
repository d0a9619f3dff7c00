import type { Wake } from '../ports/wake.ts'

/** The document's own hints: shown again, resumed from a freeze or the back-forward cache, online. Nothing where there is no document. */
export const platformWake: Wake = listener => {
  const { document } = globalThis
  if (!document?.addEventListener) return () => undefined
  const onVisible = () => {
    if (document.visibilityState === 'visible') listener()
  }
  document.addEventListener('visibilitychange', onVisible)
  document.addEventListener('resume', listener)
  globalThis.addEventListener?.('pageshow', listener)
  globalThis.addEventListener?.('online', listener)
  return () => {
    document.removeEventListener('visibilitychange', onVisible)
    document.removeEventListener('resume', listener)
    globalThis.removeEventListener?.('pageshow', listener)
    globalThis.removeEventListener?.('online', listener)
  }
}
