import type { Attach } from '../ports/attach.ts'
import type { TiedToKey, TokenBinding } from '../ports/dpop.ts'
import type { Grant } from '../ports/grant.ts'
import type { SessionError } from '../values/errors.ts'
import type { MaybePromise } from '../values/maybe-promise.ts'
import type { TokenResponse, TokenSet } from '../values/token-set.ts'

/** What `TokenBinding.tie` does, for any attach that has a key. */
export function tieToKey(
  grant: Grant<never>,
  attach: Attach,
  keyAtHand: TokenBinding['thumbprint'],
  onLost: (tokens: TokenSet) => SessionError,
): TiedToKey {
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
    grant: Object.assign(Object.create(grant) as Grant<never>, {
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
