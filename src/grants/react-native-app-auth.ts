import type { Grant } from '../ports/grant.ts'
import { refused, SessionError } from '../values/errors.ts'
import type { TokenResponse } from '../values/token-set.ts'
import { errorCode } from './endpoint-error.ts'

interface AppAuthResult {
  accessToken: string
  accessTokenExpirationDate?: string
  refreshToken?: string | null
  idToken?: string
  tokenType?: string
  scopes?: readonly string[]
}

/** What Latchkey calls of react-native-app-auth. */
export interface AppAuthLike<Config> {
  authorize(config: Config): Promise<AppAuthResult>
  refresh(config: Config, request: { refreshToken: string }): Promise<AppAuthResult>
  revoke?(config: Config, request: { tokenToRevoke: string; sendClientId?: boolean }): Promise<unknown>
}

/**
 * Signs in by react-native-app-auth, which does PKCE and the exchange in native code; the session owns renewal from then on.
 * `sign_in_cancelled` when the user closes the browser, `sign_in_failed` with OAuth's code in its `cause` else. Only `invalid_grant` ends
 * the session at a renewal; whatever else AppAuth says may be the network. Needs no WebCrypto.
 * `config` is AppAuth's own, with `revocationEndpoint` in its `serviceConfiguration` or an `issuer` that has one.
 */
export function reactNativeAppAuth<Config>(AppAuth: AppAuthLike<Config>, config: Config): Grant<void> {
  return {
    name: 'app_auth',
    async signIn(_input, { nowMs }) {
      const startedAtMs = nowMs()
      return wireOf(await AppAuth.authorize(config).catch(failSignIn), startedAtMs)
    },
    async renew({ refreshToken = '' }, { nowMs, target }) {
      const startedAtMs = nowMs()
      const asked = target ? narrowed(config, target) : config
      return wireOf(await AppAuth.refresh(asked, { refreshToken }).catch(failRenewal), startedAtMs)
    },
    async revoke({ refreshToken, accessToken }) {
      await AppAuth.revoke?.(config, { tokenToRevoke: refreshToken ?? accessToken, sendClientId: true })
    },
    canRenew: ({ refreshToken }) => !!refreshToken,
  }
}

/** What a view asks for, in the fields of AppAuth's configuration. */
function narrowed<Config>(config: Config, { resource, scope }: { resource?: string; scope?: string }): Config {
  const { additionalParameters } = config as { additionalParameters?: Record<string, string> }
  return {
    ...config,
    ...(scope && { scopes: scope.split(' ') }),
    ...(resource && { additionalParameters: { ...additionalParameters, resource } }),
  }
}

/** AppAuth says when a token ends; the session counts from the start of the call. */
function wireOf(result: AppAuthResult, startedAtMs: number): TokenResponse {
  const expiresAtMs = Date.parse(result.accessTokenExpirationDate ?? '')
  return {
    access_token: result.accessToken,
    token_type: result.tokenType,
    refresh_token: result.refreshToken,
    id_token: result.idToken,
    scope: result.scopes?.join(' '),
    ...(!Number.isNaN(expiresAtMs) && { expires_in: Math.floor((expiresAtMs - startedAtMs) / 1000) }),
  }
}

// What closing the browser is called: AppAuth-Android, AppAuth-iOS (react-native-app-auth #565).
const cancelled = /user cancelled|appauth\.general error -3/i
// iOS writes the code before its description (react-native-app-auth #377); Android puts it into `code` (#474).
const startsWithCode = /^([a-z_]+):/

function codeOf(error: unknown): string | undefined {
  const { code, message = '' } = (error ?? {}) as { code?: unknown; message?: string }
  return startsWithCode.exec(message)?.[1] ?? errorCode(code)
}

function failSignIn(error: unknown): never {
  const { message = '' } = (error ?? {}) as { message?: string }
  if (cancelled.test(message)) {
    throw new SessionError('sign_in_cancelled', 'The browser was closed before the sign-in was done.')
  }
  const code = codeOf(error) ?? 'authentication_failed'
  throw new SessionError('sign_in_failed', `AppAuth could not sign in (${code}).`, {
    cause: Object.assign(new Error(code), { code }),
    retryable: code === 'service_configuration_fetch_error',
  })
}

/** Only a code says that a refresh token is dead; everything else may be the network. */
function failRenewal(error: unknown): never {
  const code = codeOf(error) ?? 'token_refresh_failed'
  const cause = Object.assign(new Error(`AppAuth could not renew (${code}).`), { code })
  throw code === 'invalid_grant' ? refused(cause) : cause
}
