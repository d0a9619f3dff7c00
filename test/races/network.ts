import { type Grant, refused } from '../../src/index.ts'
import type { Judge } from './invariants.ts'
import type { Servers } from './servers.ts'
import type { Context, World } from './world.ts'

export const api = 'https://api.example.com'
export const elsewhere = 'https://other.example.org'

export const tokenFaults = ['lost', 'unsent', '500', '429', '400', 'garbage', 'hang', 'slow', 'very slow'] as const
export const apiFaults = ['lost', 'unsent', '500', '401', '401 late'] as const
export type TokenFault = (typeof tokenFaults)[number]
export type ApiFault = (typeof apiFaults)[number]

export interface Network {
  readonly tokenFaults: TokenFault[]
  readonly apiFaults: ApiFault[]
  fetchOf(context: () => Context): typeof fetch
  grantOf(context: () => Context): Grant<{ user: string }>
}

export const networkFault = () => new TypeError('fetch failed')

/** Requests arrive, are answered, and the answer arrives: each by itself, and each may be lost. */
export function createNetwork(world: World, servers: Servers, judge: Judge): Network {
  const network: Network = { tokenFaults: [], apiFaults: [], fetchOf, grantOf }

  function fetchOf(context: () => Context): typeof fetch {
    return (input, init) => {
      const me = context()
      const url = String(input)
      const token = new Headers(init?.headers).get('authorization')?.slice('Bearer '.length)
      const call = world.calls[Number(new URL(url).searchParams.get('call'))]
      judge.onSend(me, call, url, token, `${init?.method} ${url} ${init?.body ?? ''}`)
      return world.promise<Response>(me.realm, (resolve, reject) => {
        if (call) call.isBusy = true
        const settle = (end: () => void) => {
          if (call) call.isBusy = false
          end()
        }
        const { signal } = init ?? {}
        if (signal?.aborted) return settle(() => reject(signal.reason))
        signal?.addEventListener('abort', () => settle(() => reject(signal.reason)))
        const fault = network.apiFaults.shift()
        if (world.isOffline || fault === 'unsent')
          return world.later(me.realm, `request of ${me.name} fails`, () => settle(() => reject(networkFault())))
        const arrive = () => {
          const status = fault === '500' ? 500 : fault === '401' ? 401 : servers.check(token)
          const answer = () =>
            settle(() => {
              if (fault === 'lost') return reject(networkFault())
              world.note(me, () => `call ${call?.number} is answered ${status} on ${token}`)
              judge.onStatus(me, call, status, token)
              resolve(new Response(null, { status }))
            })
          const deliver = () => world.later(me.realm, `answer to ${me.name}`, answer)
          if (fault === '401 late') world.timers.add(undefined, world.timeMs + 4000, deliver)
          else deliver()
        }
        world.later(me.realm, `request of ${me.name} arrives`, arrive, { isOutside: true })
      })
    }
  }

  function grantOf(context: () => Context): Grant<{ user: string }> {
    return {
      name: 'strict',
      signIn({ user }, { signal }) {
        const me = context()
        return world.promise(me.realm, (resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason))
          if (world.isOffline) return world.later(me.realm, 'sign-in fails', () => reject(networkFault()))
          world.later(me.realm, `sign-in of ${user} arrives`, () => {
            const response = servers.signIn(user)
            world.later(me.realm, `sign-in of ${user} answers`, () => {
              judge.onSignInAnswer(me, response)
              resolve(response)
            })
          })
        })
      },
      renew(tokens, { signal }) {
        const me = context()
        const refresh = tokens.refreshToken ?? ''
        const active = judge.onRenew(me, tokens)
        return world.promise(me.realm, (resolve, reject) => {
          let isOver = false
          const fail = (error: unknown) => {
            isOver = true
            active.end()
            reject(error)
          }
          if (!world.setting.deaf) signal.addEventListener('abort', () => fail(signal.reason))
          const fault = network.tokenFaults.shift()
          world.note(me, () => `renews with ${refresh}${fault ? ` (fault: ${fault})` : ''}`)
          const later = (label: string, run: () => void) => world.later(me.realm, label, run)
          if (world.isOffline || fault === 'unsent') return later('renewal fails', () => fail(networkFault()))
          const arrive = () => {
            if (fault === '500' || fault === '400')
              return later('renewal is answered badly', () => fail({ status: Number(fault) }))
            if (fault === '429') return later('renewal is put off', () => fail({ status: 429, retryAfter: '20' }))
            if (fault === 'garbage')
              return later('renewal is answered by a portal', () => {
                active.end()
                resolve({ access_token: '' })
              })
            const { reuses } = servers
            const response = servers.rotate(refresh)
            if (servers.reuses > reuses) world.coverage.reach('reuse seen by the server')
            world.note(me, () => `server: ${refresh} → ${response?.refresh_token ?? 'refused'}`)
            const answer = () =>
              later(`renewal answer to ${me.name}`, () => {
                if (isOver) return judge.onLost(refresh)
                active.end()
                if (response) {
                  judge.onRenewed(me, refresh, response, world.timeMs - active.startedAtMs)
                  resolve(response)
                } else {
                  judge.onRefused(me, refresh, world.timeMs - active.startedAtMs)
                  reject(world.steps % 2 ? refused() : Response.json({ error: 'invalid_grant' }, { status: 400 }))
                }
              })
            if (fault === 'lost') {
              judge.onLost(refresh)
              return later('renewal answer is lost', () => fail(networkFault()))
            }
            if (fault === 'hang') return judge.onLost(refresh)
            if (fault === 'slow') world.timers.add(undefined, world.timeMs + 33_000, answer)
            else if (fault === 'very slow') world.timers.add(undefined, world.timeMs + 75_000, answer)
            else answer()
          }
          world.later(me.realm, `renewal of ${me.name} arrives`, arrive, { isOutside: true })
        })
      },
      async revoke(tokens) {
        const me = context()
        judge.onRevoke(me, tokens)
        world.later(undefined, 'revocation arrives', () => servers.revoke(tokens.refreshToken))
      },
    }
  }

  return network
}
