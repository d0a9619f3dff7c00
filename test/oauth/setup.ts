import { inspect } from 'node:util'
import { createSession, SessionError, type SessionOptions } from 'latchkey'
import { type AuthorizationCodeOptions, type AuthorizationCodeSignIn, authorizationCode } from 'latchkey/oauth'
import { createOAuthProvider, type OAuthProvider, type OAuthProviderOptions } from '../../demo/oauth/provider.ts'
import { createUser, type UserOptions } from './user.ts'

export const redirectUri = 'http://127.0.0.1:9/callback'

const app = {
  redirect_uris: [redirectUri],
  grant_types: ['authorization_code', 'refresh_token'],
  application_type: 'native',
}

export const secrets = {
  basic: 'tok3n-basic:secret & more',
  post: 'tok3n-post',
  jwt: 'tok3n-jwt-that-is-32-characters-long',
}

export const clients = [
  { ...app, client_id: 'app', token_endpoint_auth_method: 'none' },
  { ...app, client_id: 'basic', token_endpoint_auth_method: 'client_secret_basic', client_secret: secrets.basic },
  { ...app, client_id: 'post', token_endpoint_auth_method: 'client_secret_post', client_secret: secrets.post },
  { ...app, client_id: 'jwt', token_endpoint_auth_method: 'client_secret_jwt', client_secret: secrets.jwt },
]

export const startProvider = (options: Partial<OAuthProviderOptions> = {}): Promise<OAuthProvider> =>
  createOAuthProvider({ clients, ...options })

// biome-ignore lint/suspicious/noConfusingVoidType: as the grant has it
type SignInInput = AuthorizationCodeSignIn | void

type Overrides = Partial<AuthorizationCodeOptions> & {
  user?: Partial<UserOptions>
  /** Changes the URL that comes back. */
  tamper?: (url: URL) => unknown
  session?: Partial<SessionOptions<never>>
}

/** A session over authorizationCode, and the user who signs in. */
export function createApp(
  server: { issuer: string },
  { user: ofUser, tamper, session: ofSession, ...options }: Overrides = {},
) {
  const user = createUser({ redirectUri, ...ofUser })
  const grant = authorizationCode({
    issuer: server.issuer,
    clientId: 'app',
    scope: 'openid offline_access read',
    redirectUri,
    async open(authorizationUrl) {
      const url = new URL(await user.visit(authorizationUrl))
      await tamper?.(url)
      return url.href
    },
    ...options,
  })
  const session = createSession({
    resources: server.issuer,
    ...ofSession,
    grant,
  } as SessionOptions<SignInInput>)
  return { session, user, authorizationUrl: () => new URL(user.history[0] ?? '') }
}

/** How a promise failed: a SessionError, or this fails. */
export async function failureOf(promise: Promise<unknown>): Promise<SessionError> {
  const error = await promise.then(
    () => new Error('It did not fail.'),
    error => error,
  )
  if (!(error instanceof SessionError)) throw error
  return error
}

/** The code or message of an error's cause. */
export const causeOf = (error: SessionError): string =>
  ((error.cause as { code?: string; message: string }).code ?? (error.cause as Error).message) as string

export const everything = (error: unknown): string =>
  inspect(error, { depth: 9, showHidden: true, maxStringLength: null })
