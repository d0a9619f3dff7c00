import type { AccessTokens } from './access-tokens.ts'
import type { Family } from './refresh-tokens.ts'

/** RFC 6749 §5.1. */
export async function tokenResponse(
  accessTokens: AccessTokens,
  family: Family,
  { scope = family.scope, refreshToken }: { scope?: string; refreshToken?: string | undefined },
) {
  return {
    access_token: await accessTokens.issue(family, scope),
    token_type: 'Bearer',
    expires_in: accessTokens.lifetime,
    ...(refreshToken !== undefined && { refresh_token: refreshToken }),
    scope,
  }
}
