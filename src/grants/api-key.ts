import type { Grant, GrantContext } from '../ports/grant.ts'
import { SessionError } from '../values/errors.ts'
import { headerName } from '../values/header-name.ts'

type Keys = string | readonly string[]

/** Options of {@link apiKey}. */
export interface ApiKeyOptions {
  /** One key, several valid at once, or a function that fetches them: asked at the first use and once per wave of 401s. */
  keys: Keys | (() => Keys | Promise<Keys>)
  /** Where the key goes. Query parameters are refused: they end up in logs. @default 'x-api-key' */
  header?: string
  /** There is none: a key in a URL ends up in logs, histories and referrers. */
  query?: never
}

/** The keys that were tried since the first 401 of a wave. */
interface Wave {
  readonly keys: readonly string[]
  readonly tried: Set<string>
  readonly startedAtMs: number
}

/**
 * A service key that is rotated without a gap. Headless. A 401 tries the next key once, the one that works is kept, and when all were
 * refused the 401 is the answer: nothing is tried again for `minIntervalMs`.
 * @throws SessionError `misconfigured` where there is no key, one that no header carries, another place for it, or the header is none
 */
export function apiKey({ keys, header: name = 'x-api-key', ...others }: ApiKeyOptions): Grant<void> {
  const [other] = Object.keys(others)
  if (other !== undefined) {
    throw new SessionError(
      'misconfigured',
      `apiKey() takes keys and header, and no ${other}. A key goes into a header: in a query it ends up in logs and histories.`,
    )
  }
  const checked = headerName(name)
  const fixed = typeof keys === 'function' ? undefined : listOf(keys)
  const load = async () => fixed ?? listOf(await (keys as () => Keys | Promise<Keys>)())
  let wave: Wave | undefined
  let context: GrantContext | undefined

  const current = () =>
    wave && context && context.nowMs() - wave.startedAtMs < context.minIntervalMs ? wave : undefined
  const left = ({ keys, tried }: Wave, refused: string) => keys.filter(key => key !== refused && !tried.has(key))

  return {
    name: 'api_key',
    headless: true,
    attach: (_request, tokens) => ({ [checked]: tokens.accessToken }),
    // Another key may work, however young the refused one is.
    renewsAtOnce: true,
    async signIn(_input, given) {
      context = given
      const [first] = await load()
      return { access_token: first as string }
    },
    async renew({ accessToken }, given) {
      context = given
      wave = current() ?? { keys: await load(), tried: new Set(), startedAtMs: given.nowMs() }
      wave.tried.add(accessToken)
      // A ring: on from the refused key.
      const place = wave.keys.indexOf(accessToken)
      const ring = [...wave.keys.slice(place + 1), ...wave.keys.slice(0, place + 1)]
      // A function that was asked anew and knows no other key: this one's next 401 is the answer.
      return { access_token: ring.find(key => !wave?.tried.has(key)) ?? accessToken }
    },
    canRenew({ accessToken }) {
      const known = current() ?? (fixed && { keys: fixed, tried: new Set<string>(), startedAtMs: 0 })
      return !known || left(known, accessToken).length > 0
    },
  }
}

function listOf(keys: Keys): readonly string[] {
  // Keys from files end with a line break, which platforms take away too (Fetch standard, normalize a header value).
  const list = [keys].flat().map(key => (typeof key === 'string' ? key.trim() : ''))
  if (!list.length || list.includes('')) {
    throw new SessionError(
      'misconfigured',
      "No API key. Write keys: 'the-key', several of them, or a function that fetches them.",
    )
  }
  const odd = list.findIndex(key => !/^[\x21-\x7e]+$/.test(key))
  if (odd >= 0) {
    throw new SessionError(
      'misconfigured',
      `Key ${odd + 1} of ${list.length} holds a space, a line break or another character that no header carries. Is it a whole file?`,
    )
  }
  return list
}
