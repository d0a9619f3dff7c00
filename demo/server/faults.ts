import { setTimeout as wait } from 'node:timers/promises'
import type { MiddlewareHandler } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { Env } from './environment.ts'

/** What goes wrong on real networks and servers, on demand. Each holds for one call; calls of the same kind queue up. */
export interface Faults {
  /** The server does its work, a rotation is committed, and the client never hears of it. */
  dropNextTokenResponse(): void
  failNextToken(answer: { status: number; retryAfter?: string | number }): void
  delayNextToken(ms: number): void
  delayNextCollect(ms: number): void
  /** A late 401: these tokens look fine to their clients, and the server disagrees. */
  rejectAccessTokensIssuedUntilNow(): void
}

export type FaultInjection = ReturnType<typeof faultInjection>

export function faultInjection() {
  const drops: true[] = []
  const failures: { status: number; retryAfter?: string | number }[] = []
  const tokenDelays: number[] = []
  const collectDelays: number[] = []
  const stopped = new AbortController()
  // By token and not by time, since `iat` counts whole seconds.
  let accepted: Set<string> | undefined

  const delay = async (ms: number | undefined) => {
    if (ms !== undefined) await wait(ms, undefined, { signal: stopped.signal }).catch(() => {})
  }

  const faults: Faults = {
    dropNextTokenResponse: () => void drops.push(true),
    failNextToken: answer => void failures.push(answer),
    delayNextToken: ms => void tokenDelays.push(ms),
    delayNextCollect: ms => void collectDelays.push(ms),
    rejectAccessTokensIssuedUntilNow: () => {
      accepted = new Set()
    },
  }

  const token: MiddlewareHandler<Env> = async (c, next) => {
    const isDropped = drops.shift()
    await delay(tokenDelays.shift())
    const failure = failures.shift()
    if (failure) {
      if (failure.retryAfter !== undefined) c.header('Retry-After', String(failure.retryAfter))
      return c.json({ error: 'temporarily_unavailable' }, failure.status as ContentfulStatusCode)
    }
    await next()
    if (isDropped) c.env.incoming.socket.destroy()
  }

  const collect: MiddlewareHandler<Env> = async (_, next) => {
    await delay(collectDelays.shift())
    await next()
  }

  return {
    faults,
    token,
    collect,
    issued: (jti: string) => void accepted?.add(jti),
    rejects: (jti: string) => accepted !== undefined && !accepted.has(jti),
    /** Ends the delays that still run. */
    stop: () => stopped.abort(),
  }
}
