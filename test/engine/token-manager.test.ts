import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createFlight, homeOf, type Outcome } from '../../src/engine/flight.ts'
import {
  type AllEvents,
  type Announce,
  atOnce,
  createNews,
  createTokenManager,
  type Held,
  signedOutFailure,
} from '../../src/engine/token-manager.ts'
import { SessionError } from '../../src/values/errors.ts'
import { Emitter } from '../../src/values/events.ts'
import type { LiveRecord, Tombstone } from '../../src/values/record.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'
import { settle } from './contexts-fakes.ts'

const nowMs = 1_800_000_000_000
const recordOf = (
  id: string,
  generation: number,
  more: Partial<LiveRecord> = {},
  access = `${id}-${generation}`,
): LiveRecord => ({
  v: 1,
  id,
  generation,
  grant: 'custom',
  tokens: {
    accessToken: secret(access),
    refreshToken: secret(`r-${access}`),
    tokenType: 'Bearer',
    expiresAtMs: nowMs + 300_000,
  },
  savedAtMs: nowMs,
  ...more,
})
const tombstoneOf = (id: string, generation: number): Tombstone => ({ v: 1, id, generation, signedOut: true })

function setUp() {
  const clock = createClock()
  const home = homeOf({}, 'key')
  const emitter = new Emitter<AllEvents>()
  const told: string[] = []
  emitter.on('signed-in', payload => told.push(`signed-in ${JSON.stringify(payload)}`))
  emitter.on('signed-out', ({ reason }) => told.push(`signed-out ${reason}`))
  emitter.on('renewed', ({ how, expiresAtMs }) => told.push(`renewed ${how} ${expiresAtMs}`))
  const revokeLate = vi.fn()
  const manager = createTokenManager({ home, clock, aheadMs: 60_000, emitter, canRenew: () => true, revokeLate })
  const held = (record: LiveRecord): Held => ({ record, life: manager.lifetimeOf(record) })
  return { manager, clock, home, told, revokeLate, held, emitter }
}

/** One that has read what was stored. */
function signedIn(generation = 5) {
  const made = setUp()
  made.manager.start(recordOf('mine', generation), atOnce)
  made.told.length = 0
  return made
}

function signedOut() {
  const made = setUp()
  made.manager.start({}, atOnce)
  made.told.length = 0
  return made
}

beforeEach(() => void vi.spyOn(console, 'error').mockImplementation(() => undefined))
afterEach(() => void vi.restoreAllMocks())

describe('the first read', () => {
  it('finds a sign-in, which is no event', () => {
    const { manager, told } = setUp()
    expect([manager.status, manager.state, manager.epoch, manager.seen]).toEqual([
      'starting',
      { status: 'starting' },
      0,
      0,
    ])
    manager.start(recordOf('mine', 5), atOnce)
    expect(manager.state).toEqual({ status: 'signed-in', expiresAtMs: nowMs + 300_000 })
    expect([told, manager.epoch, manager.seen, manager.held?.record.id]).toEqual([[], 0, 5, 'mine'])
  })

  it('finds nothing, for a reason or for none', () => {
    const { manager, told } = setUp()
    manager.start({}, atOnce)
    expect([manager.state, manager.status, told]).toEqual([{ status: 'signed-out' }, 'signed-out', []])
    const other = setUp()
    other.manager.start({ reason: 'expired' }, atOnce)
    expect(other.manager.state).toEqual({ status: 'signed-out', reason: 'expired' })
    expect(other.manager.signedOutError().message).toContain('(expired)')
  })

  it('fails, and the next one is over it', () => {
    const { manager } = setUp()
    const error = new SessionError('storage_unavailable', 'locked')
    manager.start({ error }, atOnce)
    expect(manager.state).toEqual({ status: 'starting', error })
    manager.start(recordOf('mine', 5), atOnce)
    expect(manager.state.status).toBe('signed-in')
  })
})

describe('the state', () => {
  it('is the same object until something changes', () => {
    const { manager, held } = signedIn()
    const before = manager.state
    expect(manager.state).toBe(before)
    manager.note(held(recordOf('mine', 6)))
    expect(manager.state).toBe(before)
    manager.renewed(held(recordOf('mine', 7)), atOnce)
    expect(manager.state).not.toBe(before)
  })

  it('tells scope and claims, those of the id token first, and neither where there is none', () => {
    const jwt = (claims: object) => `${btoa('{}')}.${btoa(JSON.stringify(claims))}.s`
    const state = (tokens: Partial<LiveRecord['tokens']>) => {
      const { manager } = setUp()
      manager.start(recordOf('mine', 1, { tokens: { accessToken: 'opaque', tokenType: 'Bearer', ...tokens } }), atOnce)
      return manager.state
    }
    expect(state({})).toStrictEqual({ status: 'signed-in' })
    expect(state({ scope: 'a b' })).toStrictEqual({ status: 'signed-in', scope: 'a b' })
    expect(state({ accessToken: jwt({ sub: 'access' }) })).toMatchObject({ claims: { sub: 'access' } })
    expect(state({ accessToken: jwt({ sub: 'access' }), idToken: jwt({ sub: 'id' }) })).toMatchObject({
      claims: { sub: 'id' },
    })
  })

  it('is told to all who subscribed, until they stop, whatever one of them does', () => {
    const { manager, held } = signedIn()
    const heard: string[] = []
    const bad = () => {
      throw new Error('a listener’s own')
    }
    const good = () => heard.push('good')
    manager.subscribe(bad)
    const stop = manager.subscribe(good)
    manager.subscribe(good)
    manager.renewed(held(recordOf('mine', 6)), atOnce)
    expect(heard).toEqual(['good', 'good'])
    stop()
    stop()
    manager.renewed(held(recordOf('mine', 7)), atOnce)
    expect(heard).toHaveLength(3)
  })
})

describe('time', () => {
  it('is that of the token, and none where there is none', () => {
    const { manager, clock } = signedIn()
    clock.advance(100_000)
    expect([manager.remainingMs(), manager.ageMs()]).toEqual([200_000, 100_000])
    manager.end('requested')
    expect([manager.remainingMs(), manager.ageMs()]).toEqual([0, 0])
  })

  it('of a record begins when it was saved, by the monotonic clock where that is known', () => {
    const { manager } = setUp()
    expect(manager.lifetimeOf(recordOf('mine', 1))).toMatchObject({
      bornAtMs: nowMs,
      bornMonotonicMs: undefined,
      lifetimeMs: 300_000,
    })
    expect(manager.lifetimeOf(recordOf('mine', 1), 7)).toMatchObject({ bornMonotonicMs: 7 })
  })
})

describe('a record that is met', () => {
  it.each([
    ['a higher generation', recordOf('mine', 6), 'adopted', ['renewed adopted 1800000300000']],
    ['the same generation and tokens', recordOf('mine', 5), 'known', []],
    [
      'the same generation, other tokens',
      recordOf('mine', 5, {}, 'other'),
      'adopted',
      ['renewed adopted 1800000300000'],
    ],
    ['a lower generation', recordOf('mine', 4), 'stale', []],
    [
      'a higher one of another sign-in',
      recordOf('other', 6),
      'adopted',
      ['signed-out replaced', 'signed-in {"expiresAtMs":1800000300000}'],
    ],
    [
      'the same of another sign-in',
      recordOf('other', 5),
      'adopted',
      ['signed-out replaced', 'signed-in {"expiresAtMs":1800000300000}'],
    ],
    ['a lower one of another sign-in', recordOf('other', 4), 'stale', []],
  ] as [string, LiveRecord, string, string[]][])('of %s', (_what, record, meeting, events) => {
    const { manager, told } = signedIn()
    expect(manager.meet(record)).toBe(meeting)
    expect(told).toEqual(events)
    expect(manager.seen).toBe(Math.max(5, record.generation))
    expect(manager.held?.record).toEqual(meeting === 'stale' ? recordOf('mine', 5) : record)
  })

  it('that is known brings news of its attempt, and the life of its token goes on', () => {
    const { manager } = signedIn()
    const life = manager.held?.life
    const attempt = { by: 'other', atMs: 1 }
    manager.meet(recordOf('mine', 5, { attempt }))
    expect(manager.held?.record.attempt).toEqual(attempt)
    expect(manager.held?.life).toBe(life)
  })

  it('before the first read is what was stored, and no event', () => {
    const { manager, told } = setUp()
    expect(manager.meet(recordOf('mine', 5))).toBe('adopted')
    expect([manager.status, told, manager.epoch]).toEqual(['signed-in', [], 0])
  })

  it('where nobody is signed in is a sign-in, unless something higher was seen', () => {
    const { manager, told } = signedOut()
    manager.supersede(recordOf('past', 7))
    expect(manager.meet(recordOf('other', 6))).toBe('stale')
    expect(manager.meet(recordOf('other', 7))).toBe('adopted')
    expect(told).toEqual(['signed-in {"expiresAtMs":1800000300000}'])
  })

  it('of the session that has ended here is only taken where it is newer', () => {
    const { manager } = signedIn()
    manager.end('expired')
    expect(manager.meet(recordOf('mine', 5))).toBe('stale')
    expect(manager.meet(recordOf('mine', 6))).toBe('adopted')
    const other = signedIn()
    other.manager.end('expired')
    expect(other.manager.meet(recordOf('other', 5))).toBe('adopted')
  })

  it('of a sign-in that was signed out never lives again, whatever its generation', () => {
    const { manager, told } = signedIn()
    manager.end('requested')
    told.length = 0
    expect(manager.meet(recordOf('mine', 99))).toBe('undead')
    expect([manager.held, told, manager.seen]).toEqual([undefined, [], 99])
    expect(manager.isSignedOut('mine')).toBe(true)
    const other = signedIn()
    other.manager.end('elsewhere')
    expect([other.manager.meet(recordOf('mine', 99)), other.manager.isSignedOut('mine')]).toEqual(['undead', true])
  })

  it('of a sign-in that was replaced here is earlier, whatever its generation, and was not signed out', () => {
    const { manager, held } = signedIn()
    manager.begin(held(recordOf('next', 6, { begunAtMs: 20 })))
    expect(manager.meet(recordOf('mine', 99, { begunAtMs: 10 }))).toBe('stale')
    expect([manager.isSignedOut('mine'), manager.held?.record.id]).toEqual([false, 'next'])
    expect(manager.held?.record.generation).toBe(100)
    expect(manager.meet(recordOf('last', 7, { begunAtMs: 30 }))).toBe('adopted')
  })
})

describe('a tombstone that is met', () => {
  it('of the sign-in that is held ends it, whatever its generation', () => {
    for (const generation of [1, 5, 9]) {
      const { manager, told } = signedIn()
      expect(manager.meet(tombstoneOf('mine', generation))).toBe('ended')
      expect(manager.state).toEqual({ status: 'signed-out', reason: 'elsewhere' })
      expect([told, manager.isSignedOutOnPurpose]).toEqual([['signed-out elsewhere'], true])
    }
  })

  it('whose writer had not seen these tokens leaves them to be revoked here', () => {
    for (const [generation, times] of [
      [4, 1],
      [5, 1],
      [6, 0],
    ] as const) {
      const { manager, revokeLate } = signedIn()
      const { tokens } = recordOf('mine', 5)
      manager.meet(tombstoneOf('mine', generation))
      expect(revokeLate).toHaveBeenCalledTimes(times)
      if (times) expect(revokeLate).toHaveBeenCalledWith('mine', tokens)
    }
  })

  it('of another sign-in ends this one only where it is higher, else this one goes above it; it revokes nothing', () => {
    const { manager, revokeLate } = signedIn()
    expect(manager.meet(tombstoneOf('other', 5))).toBe('stale')
    expect(manager.status).toBe('signed-in')
    expect(manager.isSignedOut('other')).toBe(true)
    expect(manager.held?.record.generation).toBe(6)
    expect(manager.meet(tombstoneOf('third', 6))).toBe('stale')
    expect(manager.meet(tombstoneOf('fourth', 8))).toBe('ended')
    expect(manager.status).toBe('signed-out')
    expect(revokeLate).not.toHaveBeenCalled()
  })

  it('where nobody is signed in is no event, but nobody signs in by itself after it', () => {
    const { manager, told } = signedOut()
    expect(manager.isSignedOutOnPurpose).toBe(false)
    expect(manager.meet(tombstoneOf('other', 5))).toBe('ended')
    expect([told, manager.isSignedOutOnPurpose, manager.epoch]).toEqual([[], true, 0])
  })
})

describe('a sign-in here', () => {
  it('takes the place of what was there, which is told first', () => {
    const { manager, told, held } = signedIn()
    manager.begin(held(recordOf('next', 6)))
    expect(told).toEqual(['signed-out replaced', 'signed-in {"expiresAtMs":1800000300000}'])
    expect([manager.epoch, manager.seen, manager.held?.record.id]).toEqual([1, 6, 'next'])
  })

  it('where nobody was is one event, and signs in on purpose', () => {
    const { manager, told, held } = signedIn()
    manager.end('requested')
    told.length = 0
    manager.begin(held(recordOf('next', 6, { tokens: { accessToken: 'a', tokenType: 'Bearer' } })))
    expect(told).toEqual(['signed-in {}'])
    expect([manager.isSignedOutOnPurpose, manager.state]).toEqual([false, { status: 'signed-in' }])
  })
})

describe('the end', () => {
  it.each(['refused', 'expired', 'storage_corrupt', 'key_lost'] as const)('by %s is not on purpose', reason => {
    const { manager, told } = signedIn()
    manager.end(reason)
    expect(manager.state).toEqual({ status: 'signed-out', reason })
    expect([told, manager.isSignedOutOnPurpose, manager.isSignedOut('mine'), manager.epoch]).toEqual([
      [`signed-out ${reason}`],
      false,
      false,
      1,
    ])
    expect(manager.signedOutError()).toMatchObject({
      code: 'signed_out',
      message: expect.stringContaining(`(${reason})`),
    })
  })

  it('is told once: another where nobody is signed in only changes the reason', () => {
    const { manager, told } = signedIn()
    manager.end('expired')
    manager.end('requested')
    expect(told).toEqual(['signed-out expired'])
    expect(manager.state).toEqual({ status: 'signed-out', reason: 'requested' })
    expect([manager.isSignedOutOnPurpose, manager.epoch]).toEqual([true, 2])
  })

  it('before the first read is told, and whatever had begun by then is over too', () => {
    const { manager, told } = setUp()
    manager.end('requested')
    expect(told).toEqual(['signed-out requested'])
    expect(manager.meet(recordOf('stored', 5))).toBe('undead')
    expect(manager.isSignedOut('stored')).toBe(true)
    expect(manager.meet(recordOf('next', 6, { begunAtMs: nowMs - 1 }))).toBe('undead')
    expect(manager.meet(recordOf('last', 6, { begunAtMs: nowMs }))).toBe('adopted')
  })

  it('before the first read means nothing that comes once all was seen, or for another reason', () => {
    const { manager } = setUp()
    manager.end('requested')
    manager.sawAll()
    expect(manager.meet(recordOf('later', 5))).toBe('adopted')
    const other = setUp()
    other.manager.end('storage_corrupt')
    expect(other.manager.meet(recordOf('later', 5))).toBe('adopted')
    const known = signedOut()
    known.manager.end('requested')
    expect(known.manager.meet(recordOf('later', 5))).toBe('adopted')
    const again = setUp()
    again.manager.end('requested')
    again.manager.begin(again.held(recordOf('own', 1)))
    expect(again.manager.meet(recordOf('later', 5))).toBe('adopted')
  })

  it('of an epoch wakes those who waited for it, and nobody else', async () => {
    const { manager, held } = signedIn()
    const over: string[] = []
    void manager.whenOver(0).then(() => over.push('first'))
    void manager.whenOver(0).then(() => over.push('first too'))
    await settle()
    expect(over).toEqual([])
    manager.begin(held(recordOf('next', 6)))
    await settle()
    expect(over).toEqual(['first', 'first too'])
    void manager.whenOver(1).then(() => over.push('second'))
    void manager.whenOver(0).then(() => over.push('late'))
    await settle()
    expect(over.slice(2)).toEqual(['late'])
    manager.end('requested')
    await settle()
    expect(over.slice(2)).toEqual(['late', 'second'])
  })

  it('has no reason before anything happened, and is replaced where another sign-in is there', () => {
    const { manager, held } = signedIn()
    expect(manager.signedOutError().message).toBe(
      'Nobody is signed in. Call session.signIn() or session.adopt() first.',
    )
    manager.begin(held(recordOf('next', 6)))
    expect(manager.signedOutError().message).toBe('The session has ended (replaced). Ask the user to sign in again.')
    const challenge = new Response(null, { status: 401 })
    expect(manager.signedOutError(challenge).challenge).toBe(challenge)
  })
})

describe('the flight of a sign-in that ends', () => {
  function flying(id: string, made = signedIn()) {
    const flight = createFlight(made.home, id, secret('mine-5'))
    made.home.flight = flight
    let outcome: Outcome | undefined
    void flight.outcome.then(now => {
      outcome = now
    })
    return { ...made, flight, outcome: () => outcome }
  }

  it('is answered at once, and its place is free', async () => {
    const { manager, flight, home, outcome } = flying('mine')
    manager.end('requested')
    expect([flight.ended.aborted, home.flight]).toEqual([true, undefined])
    await settle()
    expect(outcome()).toEqual(signedOutFailure('requested'))
  })

  it('that found out itself is answered once the lock is free', async () => {
    const { manager, flight, home, outcome } = flying('mine')
    const { announce } = createNews()
    manager.end('expired', announce)
    await settle()
    expect([flight.ended.aborted, home.flight, outcome()]).toEqual([true, flight, undefined])
  })

  it('of another sign-in goes on', async () => {
    const { manager, flight, outcome } = flying('other')
    manager.end('requested')
    await settle()
    expect([flight.ended.aborted, outcome()]).toEqual([false, undefined])
  })

  it('of nobody, who signs in by himself, ends with a sign-out, and with no other end', async () => {
    for (const [reason, isEnded] of [
      ['requested', true],
      ['elsewhere', true],
      ['storage_corrupt', false],
    ] as const) {
      const { manager, flight } = flying('headless', signedOut())
      manager.end(reason)
      expect(flight.ended.aborted).toBe(isEnded)
    }
  })

  it('that waits for the lock although its sign-in was replaced is answered by a sign-out', async () => {
    const { manager, flight, home, outcome } = flying('mine')
    manager.meet(recordOf('next', 6), createNews().announce)
    await settle()
    expect([flight.ended.aborted, home.flight, outcome()]).toEqual([true, flight, undefined])
    manager.end('requested')
    await settle()
    expect([home.flight, outcome()]).toEqual([undefined, signedOutFailure('requested')])
  })
})

describe('what is told under a lock', () => {
  it('is kept until the lock is free, in order', () => {
    const { manager, told, held } = signedIn()
    const states: string[] = []
    manager.subscribe(() => states.push(manager.state.status))
    const news = createNews()
    manager.renewed(held(recordOf('mine', 6)), news.announce)
    manager.end('expired', news.announce)
    expect([told, states]).toEqual([[], []])
    expect(manager.status).toBe('signed-out')
    news.tell()
    // A renewal of what has ended meanwhile would only confuse.
    expect(told).toEqual(['signed-out expired'])
    expect(states).toEqual(['signed-out', 'signed-out'])
  })

  it('of a sign-in that was replaced again meanwhile is not told', () => {
    const { manager, told, held } = signedOut()
    const news = createNews()
    const announce: Announce = news.announce
    manager.begin(held(recordOf('one', 1)), announce)
    manager.begin(held(recordOf('two', 2)), announce)
    news.tell()
    expect(told).toEqual(['signed-out replaced', 'signed-in {"expiresAtMs":1800000300000}'])
  })
})

describe('what a sign-in or sign-out here takes the place of', () => {
  it('counts by its generation and beginning, and is over where it was signed out', () => {
    const { manager } = signedIn()
    manager.supersede(recordOf('other', 9, { begunAtMs: nowMs + 7 }))
    expect([manager.seen, manager.beginsAtMs(), manager.isSignedOut('other')]).toEqual([9, nowMs + 8, false])
    manager.supersede(recordOf('third', 8), true)
    expect([manager.seen, manager.isSignedOut('third')]).toEqual([9, true])
    manager.supersede(tombstoneOf('fourth', 8))
    expect(manager.isSignedOut('fourth')).toBe(true)
  })

  it('does not live again where its end is known better', () => {
    const { manager } = signedIn()
    manager.end('requested')
    manager.supersede(recordOf('mine', 8))
    expect([manager.isSignedOut('mine'), manager.meet(recordOf('mine', 9))]).toEqual([true, 'undead'])
  })

  it('a note changes what is held, and tells nobody', () => {
    const { manager, told, held } = signedIn()
    const heard = vi.fn()
    manager.subscribe(heard)
    manager.note(held(recordOf('mine', 9)))
    expect([manager.seen, manager.held?.record.generation, told, heard.mock.calls]).toEqual([9, 9, [], []])
    manager.note(held(recordOf('mine', 3)))
    expect(manager.seen).toBe(9)
  })
})
