import type { TokenBinding } from '../ports/dpop.ts'

/** The binding of an attach, where it is one that binds tokens to a key. */
export function bindingOf(attach: unknown): TokenBinding | undefined {
  const { proof, keepNonce, thumbprint } = (attach ?? {}) as Partial<TokenBinding>
  const isBinding = [proof, keepNonce, thumbprint].every(member => typeof member === 'function')
  return isBinding ? (attach as TokenBinding) : undefined
}
