import type { Attach } from '../ports/attach.ts'
import type { TokenSet } from '../values/token-set.ts'

/** Puts the token into `Authorization: Bearer …` (RFC 6750 §2.1). The default. */
export function bearer(): Attach {
  let token: string | undefined
  let credential = ''
  function authorization({ accessToken }: TokenSet): string {
    if (accessToken !== token) {
      token = accessToken
      credential = `Bearer ${accessToken}`
    }
    return credential
  }
  return Object.assign<Attach, Partial<Attach>>((_request, tokens) => ({ Authorization: authorization(tokens) }), {
    authorization,
  })
}
