import { setTimeout as wait } from 'node:timers/promises'
import { createSession, passwordGrant } from 'latchkey'
import type { DemoServer } from './server/server.ts'

export interface Tally {
  requests: number
  ok: number
  failed: number
  /** Renewals that the session ran. */
  renewals: number
  /** Refresh tokens that the server issued in the place of a spent one. */
  rotations: number
  resends: number
  durationMs: number
  /** What must not happen: each a sentence. */
  wrong: string[]
}

export type Tone = 'plain' | 'good' | 'bad' | 'news' | 'fault'
export type Tell = (tone: Tone, text: string) => void

const burst = 20

/** Signs in and calls the API through expiries and faults. Nothing it does may fail. */
export async function runClient(
  server: DemoServer,
  user: { username: string; password: string },
  tell: Tell,
): Promise<Tally> {
  const started = performance.now()
  const tally: Tally = {
    requests: 0,
    ok: 0,
    failed: 0,
    renewals: 0,
    rotations: 0,
    resends: 0,
    durationMs: 0,
    wrong: [],
  }
  const session = createSession({
    resources: server.origin,
    grant: passwordGrant({
      tokenEndpoint: `${server.origin}/token`,
      refreshEndpoint: `${server.origin}/token/refresh`,
      revocationEndpoint: `${server.origin}/revoke`,
      clientId: 'demo',
      scope: 'collect',
    }),
    renewal: { minIntervalMs: 200 },
  })
  session.on('renewed', () => {
    tally.renewals++
    tell('news', 'renewed: one token call, refresh token rotated')
  })
  session.on('renewal-failed', ({ error }) => tell('bad', `renewal failed: ${error.code}`))
  session.on('request', ({ attempt }) => {
    if (attempt > 1) tally.resends++
  })

  async function call(): Promise<void> {
    tally.requests++
    try {
      const response = await session.fetch(`${server.origin}/collect`)
      await response.arrayBuffer()
      if (response.ok) tally.ok++
      else {
        tally.failed++
        tell('bad', `GET /collect answered ${response.status}`)
      }
    } catch (error) {
      tally.failed++
      tell('bad', `GET /collect failed: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  async function calls(why: string): Promise<void> {
    const before = { ...tally }
    await Promise.all(Array.from({ length: burst }, call))
    const resent = tally.resends - before.resends
    const answered = tally.ok - before.ok
    tell(
      answered === burst ? 'good' : 'bad',
      `${answered}/${burst} answered at once, ${why}${resent ? `, ${resent} sent again` : ''}`,
    )
  }

  const expired = async () => {
    const { state } = session
    if (state.status === 'signed-in') await wait(Math.max((state.expiresAtMs ?? 0) - Date.now(), 0) + 20)
  }

  await session.signIn(user)
  tell('news', `signed in as ${user.username}`)
  await calls('with a fresh token')
  for (let round = 1; round <= 5; round++) {
    await expired()
    await calls(`expiry ${round}: the token was dead, all waited for one renewal`)
  }
  await wait(1700)
  await calls('near expiry: sent at once, renewed behind them')

  await wait(300)
  tell('fault', 'the server forgets every access token: answers come back as 401')
  server.faults.rejectAccessTokensIssuedUntilNow()
  await calls('a late 401')

  await expired()
  tell('fault', 'the next renewal is done, but its answer is lost on the way')
  server.faults.dropNextTokenResponse()
  await calls('the same refresh token again, inside the reuse window')

  await expired()
  tell('fault', 'the token endpoint answers 503 once')
  server.faults.failNextToken({ status: 503 })
  await calls('the renewal was tried again')

  const { rotations, reuses } = server.stats()
  tally.rotations = rotations
  // One rotation more than renewals: the one whose answer was lost.
  if (rotations !== tally.renewals + 1)
    tally.wrong.push(`${rotations} rotations for ${tally.renewals} renewals and one lost answer`)
  if (reuses > 1) tally.wrong.push(`a spent refresh token was sent ${reuses} times, and only one answer was lost`)
  await session.signOut()
  tell('news', 'signed out')
  session.dispose()
  tally.durationMs = Math.round(performance.now() - started)
  return tally
}
