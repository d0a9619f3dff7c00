import { describe, expect, it } from 'vitest'
import { createFlight, homeOf, isFailure, lockTimeout, type Outcome } from '../../src/engine/flight.ts'
import { settle } from './contexts-fakes.ts'

describe('a home', () => {
  it('is one for a storage and a key', () => {
    const [storage, other] = [{}, {}]
    const home = homeOf(storage, 'key')
    expect(home).toMatchObject({ flight: undefined, storing: undefined, members: [] })
    expect(homeOf(storage, 'key')).toBe(home)
    expect(homeOf(storage, 'other')).not.toBe(home)
    expect(homeOf(other, 'key')).not.toBe(home)
    expect(homeOf(storage, 'other')).toBe(homeOf(storage, 'other'))
  })
})

describe('a flight', () => {
  const failure = { code: 'unreachable', message: 'why' } as const

  function setUp() {
    const home = homeOf({}, 'key')
    const flight = createFlight(home, 'sign-in', 'rejected')
    home.flight = flight
    const told: { outcome?: Outcome; isOver?: boolean } = {}
    void flight.outcome.then(outcome => {
      told.outcome = outcome
    })
    void flight.over.then(() => {
      told.isOver = true
    })
    return { home, flight, told }
  }

  it('is answered and landed each by itself; the first answer counts', async () => {
    const { home, flight, told } = setUp()
    expect(flight).toMatchObject({ id: 'sign-in', rejected: 'rejected', isUrgent: false, subject: undefined })
    flight.settle(failure)
    flight.settle({ how: 'renewed' })
    await settle()
    expect(told).toEqual({ outcome: failure })
    expect(home.flight).toBe(flight)
    flight.land()
    await settle()
    expect(told).toEqual({ outcome: failure, isOver: true })
    expect(home.flight).toBeUndefined()
  })

  it('leaves the place of another alone when it lands', () => {
    const { home, flight } = setUp()
    const other = createFlight(home, 'other', '')
    home.flight = other
    flight.land()
    expect(home.flight).toBe(other)
  })

  it('whose sign-in ended answers at once and frees its place', async () => {
    const { home, flight, told } = setUp()
    flight.end(failure, false)
    expect([flight.ended.aborted, home.flight]).toEqual([true, undefined])
    await settle()
    expect(told).toEqual({ outcome: failure, isOver: true })
  })

  it('that found out itself answers once it is through', async () => {
    const { home, flight, told } = setUp()
    flight.end(failure, true)
    expect([flight.ended.aborted, home.flight]).toEqual([true, flight])
    await settle()
    expect(told).toEqual({})
  })

  it('has an outcome that is a failure, or none', () => {
    expect(isFailure(lockTimeout)).toBe(true)
    expect(lockTimeout).toMatchObject({
      code: 'lock_timeout',
      message: expect.stringMatching(/holds the lock.*Try again/),
    })
    expect(isFailure({ how: 'adopted' })).toBe(false)
  })
})
