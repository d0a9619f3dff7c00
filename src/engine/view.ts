import { type Clock, createLifetime, remainingMs } from '../values/clock.ts'
import type { TokenSet } from '../values/token-set.ts'
import { Access, type AccessOptions } from './access.ts'
import type { Subject, Target } from './subject.ts'
import type { Held, TokenManager } from './token-manager.ts'

interface ViewOptions extends AccessOptions {
  readonly manager: TokenManager
  readonly clock: Clock
  readonly aheadMs: number
}

/**
 * A part of a session with an access token of its own, cut to a resource and scope.
 * Its token lives in memory, in this context alone, and never changes the session's own: each renewal of it is a run of the renewal law
 * that writes nothing but the rotated refresh token.
 */
export function createView(options: ViewOptions, target: Target): Access {
  const { manager, clock, aheadMs } = options
  const expired: TokenSet = { accessToken: '', tokenType: 'Bearer', expiresAtMs: 0 }
  const none = { id: '', tokens: expired, life: createLifetime(expired, 0, undefined, 0) }
  let own = none

  const current = () => (own.id === manager.held?.record.id ? own : none)
  const remaining = () => remainingMs(current().life, clock)

  const subject: Subject = {
    target,
    current: () => current().tokens.accessToken,
    isAlive: () => remaining() > 0,
    store: ({ tokens: { refreshToken, ...kept } }, next) => {
      const newest = next.refreshToken ?? refreshToken
      return { ...kept, ...(newest && { refreshToken: newest }) }
    },
    accept(held, tokens, bornAtMs, bornMonotonicMs) {
      own = { id: held.record.id, tokens, life: createLifetime(tokens, bornAtMs, bornMonotonicMs, aheadMs) }
      manager.note(held)
    },
  }

  // The session's state, with the view's token in the place of its own.
  const view = Object.create(manager, {
    held: {
      get(): Held | undefined {
        const { held } = manager
        const { tokens, life } = current()
        return held && { record: { ...held.record, tokens }, life }
      },
    },
    remainingMs: { value: remaining },
    // What a view lacks ends nothing; whether it can have a token is up to the session's refresh token.
    canRenew: { value: () => !!manager.held && manager.canRenew(manager.held.record.tokens) },
    end: { value: () => undefined },
  }) as TokenManager

  return new Access(options, view, subject)
}
