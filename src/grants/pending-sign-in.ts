import { SessionError } from '../values/errors.ts'

/** What a sign-in keeps until its answer is there. */
export interface PendingSignIn {
  /** Which client at which redirect URI: the answer of another one is left alone. */
  readonly owner: string
  readonly state: string
  readonly nonce: string
  readonly verifier: string
  readonly redirectUri: string
  readonly isOpenId: boolean
  readonly startedAtMs: number
  readonly appState?: unknown
}

const prefix = 'latchkey:sign-in:'
const longestMs = 3_600_000

/** Keeps a sign-in over the way to the authorization server and back, for this tab only. */
export function savePending(pending: PendingSignIn): void {
  const storage = tabStorage()
  for (const key of Object.keys(storage).filter(key => key.startsWith(prefix))) {
    const { startedAtMs = 0 } = parse(storage.getItem(key)) ?? {}
    if (pending.startedAtMs - startedAtMs > longestMs) storage.removeItem(key)
  }
  storage.setItem(prefix + pending.state, JSON.stringify(pending))
}

/** Takes a sign-in of this tab out: nobody finishes it a second time. Another client's stays. */
export function takePending(state: string, owner: string): PendingSignIn | 'foreign' | undefined {
  const storage = tabStorage()
  const pending = parse(storage.getItem(prefix + state))
  if (!pending) return undefined
  if (pending.owner !== owner) return 'foreign'
  storage.removeItem(prefix + state)
  return pending
}

function tabStorage(): Storage {
  try {
    if (globalThis.sessionStorage) return globalThis.sessionStorage
  } catch {
    // A sandboxed frame, or blocked cookies.
  }
  throw new SessionError(
    'misconfigured',
    'There is no sessionStorage here, so a sign-in cannot leave the page and come back. Use open: popup(), or a function.',
  )
}

function parse(text: string | null): PendingSignIn | undefined {
  try {
    return text ? (JSON.parse(text) as PendingSignIn) : undefined
  } catch {
    return undefined
  }
}
