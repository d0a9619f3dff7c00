import type { AccessTokens } from './access-tokens.ts'
import type { Activity } from './activity.ts'
import type { Clients } from './clients.ts'
import type { Clock } from './environment.ts'
import type { RefreshTokens } from './refresh-tokens.ts'
import type { Statistics } from './statistics.ts'
import type { Users } from './users.ts'

/** What the endpoints are built on. */
export interface Services {
  readonly clock: Clock
  /** The origin of this server, which is also the audience of its tokens. */
  readonly issuer: string
  readonly clients: Clients
  readonly users: Users
  readonly refreshTokens: RefreshTokens
  readonly accessTokens: AccessTokens
  readonly activity: Activity
  readonly statistics: Statistics
}
