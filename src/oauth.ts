export { type DpopOptions, dpop } from './attach/dpop.ts'
export type { DpopKeys } from './attach/dpop-keys.ts'
export {
  type AuthorizationCodeOptions,
  type AuthorizationCodeSignIn,
  authorizationCode,
} from './grants/authorization-code.ts'
export type { EndpointOptions, IssuerOptions } from './grants/authorization-server.ts'
export { clientSecretJwt, privateKeyJwt } from './grants/client-keys.ts'
export { type CookieSessionOptions, cookieSession } from './grants/cookie-session.ts'
export { type DeviceCodeOptions, type DevicePrompt, deviceCode } from './grants/device-code.ts'
export { discover } from './grants/discover.ts'
export { type IntrospectOptions, introspect } from './grants/introspect.ts'
export type { Open, OpenContext, Opener, OpenFunction } from './grants/open.ts'
export { type PopupOptions, popup } from './grants/open-popup.ts'
export { redirect } from './grants/open-redirect.ts'
export { silent } from './grants/open-silent.ts'
export { type TokenExchangeOptions, tokenExchange } from './grants/token-exchange.ts'
