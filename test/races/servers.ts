import type { TokenResponse } from '../../src/index.ts'
import type { Setting } from './world.ts'

/** One sign-in as the authorization server knows it. Its name travels as the scope, so that a session's state tells it. */
export interface Family {
  readonly name: string
  readonly user: string
  refresh: string
  access: string
  isRevoked: boolean
  wasReused: boolean
  /** Refresh tokens that were refused. */
  refusals: number
}

export interface Issued {
  readonly family: Family
  readonly number: number
  readonly expiresAtMs: number
  /** The server ended it before its time. */
  readonly isWithdrawn?: true
  /** By refresh token: what it was exchanged for, and when. */
  successor?: { response: TokenResponse; refresh: string; atMs: number }
}

const canary = 'tok3n-'

/** The truth: a strict rotating authorization server, and a resource server that asks it. */
export class Servers {
  readonly families = new Map<string, Family>()
  readonly refreshTokens = new Map<string, Issued>()
  readonly accessTokens = new Map<string, Issued>()
  #setting: Setting
  #nowMs: () => number
  #count = 0
  reuses = 0

  constructor(setting: Setting, nowMs: () => number) {
    this.#setting = setting
    this.#nowMs = nowMs
  }

  signIn(user: string): TokenResponse {
    const name = `f${this.families.size + 1}`
    const family: Family = { name, user, refresh: '', access: '', isRevoked: false, wasReused: false, refusals: 0 }
    this.families.set(name, family)
    return this.#issue(family)
  }

  /** RFC 9700 §4.14.2: a refresh token serves once; its reuse outside of the window ends the family. */
  rotate(refresh: string): TokenResponse | undefined {
    const issued = this.refreshTokens.get(refresh)
    if (!issued) return undefined
    const { family, successor } = issued
    if (successor && !family.isRevoked) {
      const isFollowedUp = this.refreshTokens.get(successor.refresh)?.successor !== undefined
      if (!isFollowedUp && this.#nowMs() - successor.atMs <= this.#setting.reuseWindowMs) {
        const { expiresAtMs } = this.accessTokens.get(successor.response.access_token) as Issued
        return { ...successor.response, expires_in: Math.floor((expiresAtMs - this.#nowMs()) / 1000) }
      }
      this.reuses++
      family.isRevoked = true
      family.wasReused = true
    }
    if (family.isRevoked) {
      family.refusals++
      return undefined
    }
    const response = this.#issue(family, this.#setting.rotates ? undefined : refresh)
    if (this.#setting.rotates) issued.successor = { response, refresh: family.refresh, atMs: this.#nowMs() }
    return response
  }

  /** The status that the resource server answers with. */
  check(token: string | undefined): 200 | 401 {
    const issued = this.accessTokens.get(token ?? '')
    if (!issued || issued.family.isRevoked || issued.isWithdrawn || this.#nowMs() >= issued.expiresAtMs) return 401
    return this.#setting.newestOnly && issued.family.access !== token ? 401 : 200
  }

  revoke(refresh: string | undefined): void {
    const issued = this.refreshTokens.get(refresh ?? '')
    if (issued) issued.family.isRevoked = true
  }

  /** Ends every access token, as a rotation of keys does. */
  expireAccess(): void {
    for (const [token, issued] of this.accessTokens) this.accessTokens.set(token, { ...issued, isWithdrawn: true })
  }

  #issue(family: Family, kept?: string): TokenResponse {
    const number = ++this.#count
    const { lifetimeSeconds } = this.#setting
    family.access = `${canary}a${number}`
    family.refresh = kept ?? `${canary}r${number}`
    const expiresAtMs = this.#nowMs() + lifetimeSeconds * 1000
    this.accessTokens.set(family.access, { family, number, expiresAtMs })
    if (!kept) this.refreshTokens.set(family.refresh, { family, number, expiresAtMs: Number.POSITIVE_INFINITY })
    return {
      access_token: family.access,
      refresh_token: family.refresh,
      token_type: 'Bearer',
      expires_in: lifetimeSeconds,
      scope: family.name,
    }
  }
}
