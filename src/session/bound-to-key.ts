import type { Attach } from '../ports/attach.ts'
import type { TokenBinding } from '../ports/dpop.ts'
import type { Grant } from '../ports/grant.ts'
import type { SessionError } from '../values/errors.ts'
import type { MaybePromise } from '../values/maybe-promise.ts'
import type { TokenResponse, TokenSet } from '../values/token-set.ts'

export interface BoundToKey<SignIn> {
  readonly grant: Grant<SignIn>
  readonly attach: Attach
  /** A token response of a sign-in, with the thumbprint of the key that it is bound to. */
  bind<Response extends TokenResponse | undefined>(response: Response): MaybePromise<Response>
  /** Rejects, without network, where the key of these tokens is not the one at hand. */
  check(tokens: TokenSet): Promise<void>
}

/**
 * Ties the tokens of a sign-in to the key of the attach (RFC 9449 §6): where that key is gone nothing is sent any more,
 * since no server would take it. `onLost` ends the session and says why.
 * `undefined` where the attach has no key: everything stays as it is.
 */
export function boundToKey<SignIn>(
  grant: Grant<SignIn>,
  attach: Attach,
  onLost: (tokens: TokenSet) => SessionError,
): BoundToKey<SignIn> | undefined {
  const thumbprint = (attach as Attach & Partial<TokenBinding>).thumbprint
  if (typeof thumbprint !== 'function') return undefined

  const keyAtHand: TokenBinding['thumbprint'] = thumbprint
  function bind<Response extends TokenResponse | undefined>(response: Response): MaybePromise<Response> {
    if (response?.token_type?.toLowerCase() !== 'dpop') return response
    return keyAtHand().then(jkt => ({ ...response, jkt }))
  }

  async function check(tokens: TokenSet): Promise<void> {
    if (tokens.jkt && tokens.jkt !== (await keyAtHand())) throw onLost(tokens)
  }

  const { signIn, complete, renew } = grant
  return {
    bind,
    check,
    attach: Object.assign(async (...given: Parameters<Attach>) => {
      await check(given[1])
      return attach(...given)
    }, attach),
    grant: Object.assign(Object.create(grant) as Grant<SignIn>, {
      ...(signIn && { signIn: async (...given: Parameters<typeof signIn>) => bind(await signIn.apply(grant, given)) }),
      ...(complete && {
        complete: async (...given: Parameters<typeof complete>) => bind(await complete.apply(grant, given)),
      }),
      ...(renew && {
        async renew(...given: Parameters<typeof renew>) {
          await check(given[0])
          return renew.apply(grant, given)
        },
      }),
    }),
  }
}
