import type { Attach } from '../ports/attach.ts'
import { headerName } from '../values/header-name.ts'

/**
 * Puts the token as it is into a header of its own, `x-api-key` for example. Platforms carry such a header along with redirects,
 * so Latchkey follows these itself and attaches inside the resources only; in browsers a redirect is `redirect_refused`.
 * @throws SessionError `misconfigured` for what is no header name (RFC 9110 §5.1)
 */
export function header(name: string): Attach {
  const checked = headerName(name)
  return (_request, tokens) => ({ [checked]: tokens.accessToken })
}
