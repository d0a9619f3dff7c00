export { bearer } from './attach/bearer.ts'
export { header } from './attach/header.ts'
export type { IsAuthFailure } from './engine/exchange.ts'
export type {
  RequestReport,
  SessionEvents,
  SessionState,
  SignedOutReason,
  StepUpRequest,
} from './engine/token-manager.ts'
export { type ApiKeyOptions, apiKey } from './grants/api-key.ts'
export { clientCredentials } from './grants/client-credentials.ts'
export { type PasswordGrantOptions, passwordGrant } from './grants/password.ts'
export { type RefreshTokenGrantOptions, refreshTokenGrant } from './grants/refresh-token.ts'
export type { ClientOptions, ServerMetadata, ServerOptions } from './grants/token-endpoint.ts'
export type { Attach, AttachRequest } from './ports/attach.ts'
export type { Channel } from './ports/channel.ts'
export type { EndSessionOptions, Grant, GrantContext, GrantFunction, SignInResponse } from './ports/grant.ts'
export type { Grip, Lock } from './ports/lock.ts'
export type { StorageScope, TokenStorage } from './ports/token-storage.ts'
export type { Wake } from './ports/wake.ts'
export { createSession } from './session/create-session.ts'
export type { Session, SessionOptions, SessionView } from './session/options.ts'
export { encryptedStorage, type KeyRing } from './storage/encrypted.ts'
export { memoryStorage } from './storage/memory.ts'
export { fromUnstorage } from './storage/unstorage.ts'
export { webStorage } from './storage/web.ts'
export type { Clock } from './values/clock.ts'
export { isSessionError, refused, SessionError, type SessionErrorCode } from './values/errors.ts'
export type { Claims } from './values/jwt.ts'
export type { Resources } from './values/resources.ts'
export type { TokenResponse, TokenSet } from './values/token-set.ts'
