import type { Client } from './clients.ts'
import type { Family } from './refresh-tokens.ts'
import type { Services } from './services.ts'

/** Trades a refresh token of this client for the next one, and tells its owner. Undefined: it is dead, or was stolen. */
export function renew(
  { refreshTokens, activity, statistics }: Services,
  { refreshToken, client, address }: { refreshToken: string; client: Client; address: string },
): { family: Family; refreshToken?: string } | undefined {
  const rotation = refreshTokens.rotate(refreshToken, client.id)
  if (rotation.outcome === 'refused') return undefined

  const { family } = rotation
  const actor = { owner: family.subject, clientId: client.id, sid: family.sid, address }
  activity.seen(actor)
  if (rotation.outcome === 'reused') {
    statistics.reuses += 1
    activity.record('reuse', actor)
    return undefined
  }
  statistics.renewals += 1
  activity.record('renewal', actor)
  if (rotation.outcome === 'kept') return { family }
  statistics.rotations += 1
  return { family, refreshToken: rotation.refreshToken }
}
