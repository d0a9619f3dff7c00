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
 * @throws SessionError `misconfigured` where there is no key, or the header is none
 */
export function apiKey({ keys, header: name = 'x-api-key' }: ApiKeyOptions): Grant<void> {
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
      const next = ring.find(key => !wave?.tried.has(key))
      if (next === undefined) throw new Error('Every key was refused.')
      return { access_token: next }
    },
    canRenew({ accessToken }) {
      const known = current() ?? (fixed && { keys: fixed, tried: new Set<string>(), startedAtMs: 0 })
      return !known || left(known, accessToken).length > 0
    },
  }
}

function listOf(keys: Keys): readonly string[] {
  const list = [keys].flat()
  if (!list.length || list.some(key => typeof key !== 'string' || !key)) {
    throw new SessionError(
      'misconfigured',
      "No API key. Write keys: 'the-key', several of them, or a function that fetches them.",
    )
  }
  return list
}
