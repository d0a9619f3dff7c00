import type { Attach } from '../ports/attach.ts'

/** Puts the token into `Authorization: Bearer …` (RFC 6750 §2.1). The default. */
export const bearer = (): Attach => (_request, tokens) => ({ Authorization: `Bearer ${tokens.accessToken}` })
