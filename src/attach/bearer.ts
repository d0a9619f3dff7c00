import type { Attach } from '../ports/attach.ts'
import type { TokenSet } from '../values/token-set.ts'

const authorization = ({ accessToken }: TokenSet) => `Bearer ${accessToken}`
const attach: Attach = /* @__PURE__ */ Object.assign(
  (_request: unknown, tokens: TokenSet) => ({ Authorization: authorization(tokens) }),
  { authorization },
)

/** Puts the token into `Authorization: Bearer …` (RFC 6750 §2.1). The default. */
export const bearer = (): Attach => attach
