import { SessionError } from '../values/errors.ts'

/** @throws SessionError `misconfigured`, naming what is missing: pages on plain http and React Native have no `crypto.subtle` */
export function assertWebCrypto(what: string): void {
  if (globalThis.crypto?.subtle) return
  throw new SessionError(
    'misconfigured',
    `${what} needs WebCrypto, and crypto.subtle is missing here. Browsers have it on https and localhost only; React Native needs a polyfill.`,
  )
}
