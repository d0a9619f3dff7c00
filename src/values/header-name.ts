import { SessionError } from './errors.ts'

/**
 * A header name, as it was given.
 * @throws SessionError `misconfigured` for what is none (RFC 9110 §5.1)
 */
export function headerName(name: string): string {
  if (/^[!#$%&'*+.^_`|~\w-]+$/.test(name)) return name
  throw new SessionError(
    'misconfigured',
    `"${name}" is no header name. Write one such as 'x-api-key'; a key in the query ends up in logs and histories.`,
  )
}
