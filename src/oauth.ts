export {
  type AuthorizationCodeOptions,
  type AuthorizationCodeSignIn,
  authorizationCode,
} from './grants/authorization-code.ts'
export type { IssuerOptions } from './grants/authorization-server.ts'
export { discover } from './grants/discover.ts'
export type { Open, OpenContext, Opener, OpenFunction } from './grants/open.ts'
export { type PopupOptions, popup } from './grants/open-popup.ts'
export { redirect } from './grants/open-redirect.ts'
export { silent } from './grants/open-silent.ts'
