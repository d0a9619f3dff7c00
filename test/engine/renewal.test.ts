import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { GrantFunction, Lock, SessionError, SessionOptions, TokenStorage } from '../../src/index.ts'
import { secret } from '../support/no-leaks.ts'
import { createWorld, deferred, settle } from './contexts-fakes.ts'

beforeEach(() => {
  vi.useFakeTimers()
  vi.spyOn(Math, 'random').mockReturnValue(0) // no jitter
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

const tooMany = { status: 429 } // a failure that is not tried again at once

/** A session whose grant fails as the test says, signed in, its token expired. */
async function setUp(
  renew: (call: number) => Promise<object>,
  options: Partial<SessionOptions<void>> = {},
  storage: (world: ReturnType<typeof createWorld>) => Partial<TokenStorage> = () => ({}),
) {
  const world = createWorld()
  let calls = 0
  const context = world.context({
    storage: world.storage(world.items, storage(world)),
    ...options,
    grant: { ...world.grant, renew: (async () => renew(++calls)) as unknown as GrantFunction },
  })
  await context.session.adopt(world.server.signIn())
  await settle()
  context.events.length = 0
  world.clock.advance(301_000)
  const failed = async (): Promise<SessionError> =>
    context.session.renew().then(
      () => expect.fail(),
      error => error,
    )
  const stored = () => JSON.parse(world.items.get(world.key) ?? 'null')
  const pass = async (ms: number) => {
    world.clock.advance(ms)
    await vi.advanceTimersByTimeAsync(ms)
  }
  return { ...world, ...context, calls: () => calls, failed, stored, pass }
}

describe('a failure that passes', () => {
  it('is tried again with the same token, after 125 and 375 ms', async () => {
    const { session, pass, calls } = await setUp(() => Promise.reject({ status: 503 }))
    const failed = session.renew().catch(error => error)
    await settle()
    const counts: number[] = []
    for (const ms of [124, 1, 374, 1, 10_000]) {
      await pass(ms)
      counts.push(calls())
    }
    expect(counts).toEqual([1, 2, 2, 3, 3])
    expect(await failed).toMatchObject({ code: 'unreachable' })
  })

  it('may be over by then', async () => {
    const { session, pass, events } = await setUp(async call => {
      if (call === 1) throw new TypeError('Failed to fetch')
      return { access_token: secret('new'), expires_in: 60 }
    })
    const renewed = session.renew()
    await pass(125)
    expect(await renewed).toEqual({ how: 'renewed' })
    expect(events).toEqual(['renewed'])
  })

  it('waits up to half as long, by chance', async () => {
    vi.mocked(Math.random).mockReturnValue(1)
    const { session, pass, calls } = await setUp(() => Promise.reject({ status: 503 }))
    void session.renew().catch(() => undefined)
    await settle()
    await pass(74)
    expect(calls()).toBe(1)
    await pass(1)
    expect(calls()).toBe(2)
  })

  it.each([
    ['a 4xx', { status: 400 }],
    ['a Retry-After', { status: 503, retryAfter: '5' }],
  ])('is none by %s', async (_what, error) => {
    const { failed, calls, pass } = await setUp(() => Promise.reject(error))
    expect(await failed()).toMatchObject({ code: 'unreachable' })
    await pass(1000)
    expect(calls()).toBe(1)
  })

  it('is not tried again for a sign-in that ended meanwhile, nor past the time of the call', async () => {
    const { session, pass, calls } = await setUp(() => Promise.reject({ status: 503 }))
    void session.renew().catch(() => undefined)
    await settle()
    await session.adopt({ access_token: secret('next') })
    await pass(1000)
    expect(calls()).toBe(1)
    const late = await setUp(() => Promise.reject({ status: 503 }), { renewal: { timeoutMs: 100 } })
    void late.session.renew().catch(() => undefined)
    await settle()
    await late.pass(1000)
    expect(late.calls()).toBe(1)
  })
})

describe('the back-off', () => {
  it('is 1 s, then twice as long each time, up to a minute', async () => {
    const { failed, clock, calls } = await setUp(() => Promise.reject(tooMany))
    const pauses: number[] = []
    for (let round = 1; round <= 9; round++) {
      const error = await failed()
      const pause = (error.retryAtMs ?? 0) - clock.now()
      pauses.push(pause)
      clock.advance(pause - 1)
      expect(await failed()).toMatchObject({
        code: 'unreachable',
        retryAtMs: error.retryAtMs,
        message: expect.stringContaining('a moment ago'),
      })
      expect(calls()).toBe(round)
      clock.advance(1)
    }
    expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000])
  })

  it('is up to half as long, by chance', async () => {
    vi.mocked(Math.random).mockReturnValue(1)
    const { failed, clock } = await setUp(() => Promise.reject(tooMany))
    expect((await failed()).retryAtMs).toBe(clock.now() + 500)
  })

  it('is what the server says, and is shared by the record', async () => {
    const { failed, clock, stored } = await setUp(() => Promise.reject({ status: 429, retryAfter: '120' }))
    const { retryAtMs } = await failed()
    expect(retryAtMs).toBe(clock.now() + 120_000)
    expect(stored().attempt).toMatchObject({ atMs: clock.now(), retryAtMs })
  })

  it('begins anew after a success, and after a wake', async () => {
    let isDown = true
    let wakeUp: () => void = () => undefined
    const wake = (listener: () => void) => {
      wakeUp = listener
      return () => undefined
    }
    const { session, failed, clock } = await setUp(
      async () => {
        if (isDown) throw tooMany
        return { access_token: secret('new'), refresh_token: secret('r'), expires_in: 60 }
      },
      { wake },
    )
    for (const pause of [1000, 2000]) {
      expect((await failed()).retryAtMs).toBe(clock.now() + pause)
      clock.advance(pause)
    }
    isDown = false
    await session.renew()
    isDown = true
    for (const pause of [1000, 2000]) {
      expect((await failed()).retryAtMs).toBe(clock.now() + pause)
      if (pause === 1000) clock.advance(pause)
    }
    clock.advance(1) // the record's back-off is older than the wake
    wakeUp()
    expect((await failed()).retryAtMs).toBe(clock.now() + 1000)
  })

  it.each([
    ['of another context is kept', 60_000, true],
    ['of an hour and a minute is kept', 3_660_000, true],
    ['that is longer comes of a clock that was set back, and keeps nobody waiting', 3_660_001, false],
    ['that is over keeps nobody waiting', 0, false],
  ])('%s: %d ms', async (_what, ms, isKept) => {
    const { session, clock, items, key, stored, calls } = await setUp(async () => ({ access_token: secret('new') }))
    items.set(
      key,
      JSON.stringify({ ...stored(), attempt: { by: 'other', atMs: clock.now(), retryAtMs: clock.now() + ms } }),
    )
    const renewed = session.renew().catch(error => error)
    await vi.advanceTimersByTimeAsync(200)
    expect(await renewed).toMatchObject(
      isKept ? { code: 'unreachable', retryAtMs: clock.now() + ms } : { how: 'renewed' },
    )
    expect(calls()).toBe(isKept ? 0 : 1)
  })

  it('asks the user to sign in after three client errors in a row', async () => {
    const answers = [400, 400, 503, 400, 400, 400]
    const { failed, clock, calls } = await setUp(call => Promise.reject({ status: answers[call - 1], retryAfter: '1' }))
    const asked: boolean[] = []
    for (const _ of answers) {
      asked.push((await failed()).signInRequired)
      if (calls() === 6) expect((await failed()).signInRequired).toBe(true) // also while it backs off
      clock.advance(1000)
    }
    expect(asked).toEqual([false, false, false, false, false, true])
  })

  it('of a storage that prompts is not written, and kept all the same', async () => {
    const renew = () => Promise.reject(tooMany)
    const { failed, stored, calls } = await setUp(renew, {}, () => ({ interactive: true }))
    const { retryAtMs } = await failed()
    expect(await failed()).toMatchObject({ code: 'unreachable', retryAtMs })
    expect([stored().attempt, calls()]).toEqual([undefined, 1])
  })
})

describe('what the app is told of a failure', () => {
  it('is the failure, when the lock is free', async () => {
    const { failed, events, session, lock, key } = await setUp(() => Promise.reject(tooMany))
    const told: [SessionError, boolean][] = []
    session.on('renewal-failed', ({ error }) => {
      let isFree = false
      void lock.request(key, {}, async () => {
        isFree = true
      })
      told.push([error, isFree])
    })
    const error = await failed()
    expect(events).toEqual(['renewal-failed unreachable'])
    expect(told).toMatchObject([[{ code: 'unreachable', retryAtMs: error.retryAtMs }, true]])
    expect(told[0]?.[0]).not.toBe(error)
  })
})

describe('a refusal', () => {
  it('is believed after a second look, and leaves the record without its refresh token', async () => {
    const { session, pass, stored, events, calls } = await setUp(() =>
      Promise.reject({ status: 400, error: 'invalid_grant' }),
    )
    const before = stored()
    const failed = session.renew().catch(error => error)
    await settle()
    await pass(1099)
    expect(stored().refused).toBeUndefined()
    await pass(1)
    expect(await failed).toMatchObject({ code: 'signed_out', cause: { error: 'invalid_grant' } })
    expect(stored()).toMatchObject({ id: before.id, generation: before.generation + 1, refused: true })
    expect(stored().tokens.refreshToken).toBeUndefined()
    expect(stored().attempt).toBeUndefined()
    expect(events).toEqual(['renewal-failed signed_out', 'signed-out refused'])
    expect(calls()).toBe(1)
  })

  it('of a token that still works keeps the session until that has ended', async () => {
    const { session, pass, clock } = await setUp(() => Promise.reject({ status: 400, error: 'invalid_grant' }))
    clock.advanceWall(-250_000)
    clock.advance(-250_000)
    const failed = session.renew().catch(error => error)
    await pass(1200)
    expect(await failed).toMatchObject({ code: 'signed_out' })
    expect(session.state.status).toBe('signed-in')
    expect(await session.renew().catch(error => error)).toMatchObject({
      code: 'signed_out',
      message: expect.stringContaining('works until it expires'),
    })
  })

  it('about a token that somebody else had spent is no refusal', async () => {
    const { session, pass, stored, items, key, events } = await setUp(() =>
      Promise.reject({ status: 400, error: 'invalid_grant' }),
    )
    const renewed = session.renew()
    await settle()
    await pass(500)
    const { attempt: _, ...record } = stored()
    const tokens = {
      ...record.tokens,
      accessToken: secret('others'),
      refreshToken: secret('r-others'),
      expiresAtMs: 1.9e12,
    }
    items.set(key, JSON.stringify({ ...record, tokens, generation: record.generation + 1 }))
    await pass(600)
    expect(await renewed).toEqual({ how: 'adopted' })
    expect(await session.getAccessToken()).toBe(secret('others'))
    expect(events).toEqual(['adopted'])
  })

  it('of a sign-in that ends meanwhile is signed out', async () => {
    const { session, pass, stored } = await setUp(() => Promise.reject({ status: 400, error: 'invalid_grant' }))
    const failed = session.renew().catch(error => error)
    await settle()
    await session.signOut()
    expect(await failed).toMatchObject({ code: 'signed_out', message: expect.stringContaining('requested') })
    await pass(2000)
    expect(stored()).toMatchObject({ signedOut: true })
  })
})

describe('the record of a renewal', () => {
  it('has the attempt before the grant is called, and the successor after, one generation higher', async () => {
    const answer = deferred<object>()
    const { session, stored, clock } = await setUp(() => answer.promise)
    const before = stored()
    const renewed = session.renew()
    await settle()
    const sentAtMs = clock.now()
    expect(stored()).toEqual({ ...before, attempt: { by: expect.stringMatching(/^[\da-f]{32}$/), atMs: sentAtMs } })
    clock.advance(20_000)
    answer.resolve({ access_token: secret('new'), refresh_token: secret('r-new'), expires_in: 60 })
    expect(await renewed).toEqual({ how: 'renewed' })
    expect(stored()).toEqual({
      ...before,
      generation: before.generation + 1,
      savedAtMs: sentAtMs,
      tokens: {
        accessToken: secret('new'),
        refreshToken: secret('r-new'),
        tokenType: 'Bearer',
        expiresAtMs: sentAtMs + 60_000,
      },
    })
  })

  it('that somebody else wrote is adopted while its token lives, and spent in turn where that is dead already', async () => {
    for (const [ms, how] of [
      [1, 'adopted'],
      [0, 'renewed'],
    ] as const) {
      const { session, stored, items, key, clock } = await setUp(async () => ({
        access_token: secret('new'),
        expires_in: 60,
      }))
      const record = stored()
      const tokens = { ...record.tokens, accessToken: secret('others'), expiresAtMs: clock.now() + ms }
      items.set(key, JSON.stringify({ ...record, tokens, generation: record.generation + 1 }))
      expect(await session.renew()).toEqual({ how })
    }
  })

  it('that cannot be written ahead costs no refresh token', async () => {
    let isFull = false
    const { failed, calls, events } = await setUp(
      async () => ({ access_token: secret('new') }),
      {},
      ({ items }) => ({
        setItem(key, value) {
          if (isFull) throw new Error('full')
          items.set(key, value)
        },
      }),
    )
    isFull = true
    expect(await failed()).toMatchObject({ code: 'storage_unavailable', cause: { message: 'full' } })
    expect([calls(), events]).toEqual([0, ['storage-failed']])
  })

  it('that is damaged is neither spent nor written over', async () => {
    const { failed, calls, items, key, session } = await setUp(async () => ({ access_token: secret('new') }))
    items.set(key, 'torn')
    expect(await failed()).toMatchObject({ code: 'signed_out' })
    expect([calls(), items.get(key), session.state]).toEqual([
      0,
      'torn',
      { status: 'signed-out', reason: 'storage_corrupt' },
    ])
  })

  it('that is damaged ends nothing while the token lives', async () => {
    const { session, calls, items, key, clock } = await setUp(async () => ({ access_token: secret('new') }))
    clock.advance(-200_000)
    items.set(key, 'torn')
    expect(await session.renew().catch(error => error)).toMatchObject({
      code: 'storage_unavailable',
      cause: { message: 'The stored record is damaged or foreign.' },
    })
    expect([calls(), session.state.status]).toEqual([0, 'signed-in'])
  })
})

describe('who asks while a renewal is under way', () => {
  it('for another than the very token that it brought gets it once that one is through', async () => {
    const release = deferred()
    let isHeld = false
    const lock: Lock = {
      async request(_name, _options, callback) {
        await callback()
        if (isHeld) await release.promise
      },
    }
    const { session, calls } = await setUp(async call => ({ access_token: secret(`new-${call}`), expires_in: 60 }), {
      lock,
    })
    isHeld = true
    const first = session.renew()
    await settle()
    expect(await session.getAccessToken()).toBe(secret('new-1')) // it serves, though the lock is not free yet
    const second = session.renew()
    await settle()
    expect(calls()).toBe(1)
    isHeld = false
    release.resolve()
    await Promise.all([first, second])
    expect(calls()).toBe(2)
    expect(await session.getAccessToken()).toBe(secret('new-2'))
  })

  it('makes it urgent, where it was not: its lock may be taken over then', async () => {
    const steals: boolean[] = []
    const lock: Lock = {
      request(_name, { steal }, callback) {
        steals.push(steal === true)
        return steal ? callback() : new Promise(() => undefined)
      },
    }
    const { session, pass, clock } = await setUp(async () => ({ access_token: secret('new'), expires_in: 60 }), {
      lock,
      renewal: { lockTimeoutMs: 2000 },
    })
    clock.advance(-31_000) // inside of the ahead window
    steals.length = 0
    expect(await session.getAccessToken()).toBe(secret('access-1'))
    const renewed = session.renew()
    await settle()
    await pass(2000)
    await pass(50)
    expect(await renewed).toEqual({ how: 'renewed' })
    expect(steals).toEqual([false, true])
  })
})

describe('a port that breaks its word', () => {
  it.each(['with a lock', 'without'])('leaves nobody waiting, and the next renewal works, %s', async how => {
    let isBroken = false
    let calls = 0
    const world = createWorld()
    const clock = {
      monotonic: () => world.clock.monotonic(),
      now() {
        if (isBroken) throw new Error('broken clock')
        return world.clock.now()
      },
    }
    const { session } = world.context({
      clock,
      ...(how === 'without' && { storage: world.storage(world.items, { scope: 'context' }), lock: undefined as never }),
      grant: async () => {
        if (++calls > 1) return { access_token: secret('new'), expires_in: 60 }
        isBroken = true
        throw tooMany
      },
    })
    await session.adopt(world.server.signIn())
    expect(await session.renew().catch(error => error)).toMatchObject({
      code: 'unreachable',
      message: 'The renewal failed unexpectedly; see the cause.',
      cause: { message: 'broken clock' },
    })
    isBroken = false
    expect(await session.renew()).toEqual({ how: 'renewed' })
  })
})

describe('who waits for a lock', () => {
  const never: Lock = { request: () => new Promise(() => undefined) }

  it('whose token still works is told lock_timeout in time, and takes over from nobody', async () => {
    const steals: boolean[] = []
    const lock: Lock = {
      request(_name, { steal }) {
        steals.push(steal === true)
        return new Promise(() => undefined)
      },
    }
    const { session, pass, clock, calls } = await setUp(async () => ({ access_token: secret('new') }), {
      lock,
      renewal: { lockTimeoutMs: 2000, aheadMs: 0 },
    })
    clock.advance(-200_000)
    steals.length = 0
    expect(await session.getAccessToken()).toBe(secret('access-1'))
    const short = session.getAccessToken({ minValidityMs: 250_000 })
    await settle()
    await pass(2000)
    expect(await short).toBe(secret('access-1'))
    expect([steals, calls()]).toEqual([[false], 0])
  })

  describe('in vain, its token dead', () => {
    /** A lock that is never free but to a thief, and what is stored while somebody waits for it. */
    async function wait(
      store: (world: { record: Record<string, unknown>; nowMs: number }) => object | undefined,
      during?: object,
    ) {
      const steals: boolean[] = []
      const lock: Lock = {
        request(_name, { steal }, callback) {
          steals.push(steal === true)
          return steal ? callback() : new Promise(() => undefined)
        },
      }
      const made = await setUp(async () => ({ access_token: secret('new'), expires_in: 60 }), {
        lock,
        renewal: { lockTimeoutMs: 2000, timeoutMs: 3000 },
      })
      steals.length = 0
      const renewed = made.session.renew().catch(error => error.code)
      await settle()
      await made.pass(1999)
      const next = store({ record: made.stored(), nowMs: made.clock.now() + 1 })
      if (next) made.items.set(made.key, JSON.stringify(next))
      else made.items.delete(made.key)
      await made.pass(1)
      if (during) made.items.set(made.key, JSON.stringify({ ...made.stored(), ...during }))
      await made.pass(50)
      for (const ms of [200, 2000, 5000]) await made.pass(ms)
      return { steals, outcome: await renewed }
    }
    const attempt = (atMs: number) => ({ attempt: { by: 'other', atMs } })

    it('is passed over for an attempt that is older than its time', async () => {
      const { steals, outcome } = await wait(({ record, nowMs }) => ({ ...record, ...attempt(nowMs - 3001) }))
      expect([steals, outcome]).toEqual([[false, true], { how: 'renewed' }])
    })

    it('is not for one that is not, and began before the wait', async () => {
      const { steals, outcome } = await wait(({ record, nowMs }) => ({ ...record, ...attempt(nowMs - 3000) }))
      expect([steals, outcome]).toEqual([[false], 'lock_timeout'])
    })

    it('is waited for once more, and no third time, for one that began as the wait did', async () => {
      const { steals, outcome } = await wait(({ record, nowMs }) => ({ ...record, ...attempt(nowMs - 2000) }))
      expect([steals, outcome]).toEqual([[false, false], 'lock_timeout'])
    })

    it('is left to another whose claim stands', async () => {
      const { steals, outcome } = await wait(({ record }) => record, attempt(1))
      expect([steals, outcome]).toEqual([[false, false], 'lock_timeout'])
    })

    it('is not passed over where nothing is stored any more', async () => {
      const { steals, outcome } = await wait(() => undefined)
      expect([steals, outcome]).toEqual([[false], 'lock_timeout'])
    })
  })

  it('leaves the queue for the news of a fresh token', async () => {
    const signals: AbortSignal[] = []
    let isFree = true
    const lock: Lock = {
      request(_name, { signal }, callback) {
        if (signal) signals.push(signal)
        return isFree ? callback() : new Promise(() => undefined)
      },
    }
    const { session, stored, items, key, network, clock } = await setUp(() => expect.fail('nothing is to be spent'), {
      lock,
    })
    isFree = false
    const renewed = session.renew()
    await settle()
    const record = stored()
    const tokens = { ...record.tokens, accessToken: secret('others'), expiresAtMs: clock.now() + 60_000 }
    const next = { ...record, tokens, generation: record.generation + 1 }
    items.set(key, JSON.stringify(next))
    network.join().postMessage({ from: 'other', id: record.id, generation: next.generation, what: 'changed' })
    await settle()
    expect(await renewed).toEqual({ how: 'adopted' })
    expect(signals.at(-1)?.aborted).toBe(true)
  })

  it('leaves the queue where its sign-in ends', async () => {
    const signals: AbortSignal[] = []
    let isFree = true
    const lock: Lock = {
      request(_name, { signal }, callback) {
        if (signal) signals.push(signal)
        return isFree ? callback() : new Promise(() => undefined)
      },
    }
    const { session } = await setUp(() => expect.fail('nothing is to be spent'), { lock })
    isFree = false
    const failed = session.renew().catch(error => error)
    await settle()
    const waiting = signals.at(-1)
    await session.signOut()
    expect(await failed).toMatchObject({ code: 'signed_out' })
    expect(waiting?.aborted).toBe(true)
  })

  it('waits once more for who claimed the take-over meanwhile', async () => {
    const steals: boolean[] = []
    const lock: Lock = {
      request(_name, { steal }, callback) {
        steals.push(steal === true)
        return steals.length === 2 ? callback() : new Promise(() => undefined)
      },
    }
    const { session, pass, stored, items, key, clock } = await setUp(
      async () => ({ access_token: secret('new'), expires_in: 60 }),
      { lock, renewal: { lockTimeoutMs: 2000 } },
    )
    steals.length = 0
    const renewed = session.renew()
    await settle()
    await pass(1000)
    items.set(key, JSON.stringify({ ...stored(), attempt: { by: 'other', atMs: clock.now() } }))
    await pass(1000)
    await pass(100) // it asks the other, who does not answer
    expect(await renewed).toEqual({ how: 'renewed' })
    expect(steals).toEqual([false, false])
  })

  it('whose token is dead takes over where the holder gives no sign of life, once', async () => {
    const requests: object[] = []
    const lock: Lock = {
      request(_name, options, callback) {
        requests.push({ isSteal: options.steal === true })
        return options.steal ? callback() : new Promise(() => undefined)
      },
    }
    const { session, pass, calls } = await setUp(async () => ({ access_token: secret('new'), expires_in: 60 }), {
      lock,
      renewal: { lockTimeoutMs: 2000 },
    })
    requests.length = 0
    const renewed = session.renew()
    await settle()
    await pass(1999)
    expect(calls()).toBe(0)
    await pass(1)
    await pass(50)
    expect(await renewed).toEqual({ how: 'renewed' })
    expect(requests).toEqual([{ isSteal: false }, { isSteal: true }])
  })

  it('and cannot take over either is told lock_timeout, five seconds later at most', async () => {
    const { session, pass, calls } = await setUp(async () => ({ access_token: secret('new') }), {
      lock: never,
      renewal: { lockTimeoutMs: 9000 },
    })
    let code: string | undefined
    void session.renew().catch(error => {
      code = error.code
    })
    await settle()
    await pass(9000)
    await pass(50)
    await pass(4999)
    expect(code).toBeUndefined()
    await pass(1)
    expect([code, calls()]).toEqual(['lock_timeout', 0])
  })
})

describe('what is found under the lock', () => {
  it('refused, its token dead, is the end of the session', async () => {
    const { session, stored, items, key, failed, calls } = await setUp(async () => ({ access_token: secret('new') }))
    const record = stored()
    const { refreshToken: _, ...tokens } = { ...record.tokens, accessToken: secret('others') }
    items.set(key, JSON.stringify({ ...record, tokens, generation: record.generation + 1, refused: true }))
    expect(await failed()).toMatchObject({ code: 'signed_out' })
    expect([session.state, calls()]).toEqual([{ status: 'signed-out', reason: 'refused' }, 0])
  })

  it('of a sign-in that has ended, however high, is written over from above', async () => {
    const { session, stored, items, key, calls } = await setUp(async () => ({
      access_token: secret('new'),
      expires_in: 60,
    }))
    const past = stored()
    await session.adopt({ access_token: secret('next'), refresh_token: secret('r-next') })
    await settle()
    const { id } = stored()
    items.set(key, JSON.stringify({ ...past, generation: 30 }))
    expect(await session.renew()).toEqual({ how: 'renewed' })
    expect([stored().id, stored().generation, calls()]).toEqual([id, 32, 1])
  })

  it('is what another context hands over while the attempt is being written: it is not spent, and not lost', async () => {
    const gate = deferred()
    let isSlow = false
    const { session, stored, items, key, network, clock, calls } = await setUp(
      async () => ({ access_token: secret('new') }),
      {},
      world => ({
        getItem: async (name: string) => world.items.get(name),
        setItem: async (name: string, value: string) => {
          if (isSlow) await gate.promise
          world.items.set(name, value)
        },
      }),
    )
    isSlow = true
    const record = stored()
    const renewed = session.renew()
    await settle()
    const tokens = { ...record.tokens, accessToken: secret('others'), expiresAtMs: clock.now() + 60_000 }
    const next = { ...record, tokens, generation: record.generation + 1 }
    network
      .join()
      .postMessage({ from: 'other', what: 'answer', id: record.id, generation: next.generation, record: next })
    await settle()
    isSlow = false
    gate.resolve()
    await settle()
    expect(await renewed).toEqual({ how: 'adopted' })
    await settle()
    expect([calls(), JSON.parse(items.get(key) ?? '').tokens.accessToken]).toEqual([0, secret('others')])
  })

  it('is the late pair of a view: it is committed, and its refresh token is the one that is spent', async () => {
    const world = createWorld()
    const answers = [deferred<object>(), deferred<object>()]
    const spent: unknown[] = []
    const { session } = world.context({
      renewal: { timeoutMs: 1000 },
      grant: {
        ...world.grant,
        renew: ({ refreshToken }) => {
          spent.push(refreshToken)
          return answers[spent.length - 1]?.promise as never
        },
      },
    })
    await session.adopt({ access_token: secret('own'), refresh_token: secret('r'), expires_in: 300 })
    await settle()
    const pass = async (ms: number) => {
      world.clock.advance(ms)
      await vi.advanceTimersByTimeAsync(ms)
    }
    const view = session.for({ scope: 'read' })
    void view.renew().catch(() => undefined)
    await settle()
    await pass(1000)
    await pass(1000) // dead
    await pass(5000) // and the back-off is over
    const busy = deferred()
    void world.lock.request(world.key, {}, () => busy.promise)
    const renewed = session.renew()
    await settle()
    answers[0]?.resolve({ access_token: secret('view'), refresh_token: secret('r-late'), expires_in: 300 })
    await settle()
    busy.resolve()
    await settle()
    await pass(100)
    answers[1]?.resolve({ access_token: secret('new'), refresh_token: secret('r-new'), expires_in: 300 })
    expect(await renewed).toEqual({ how: 'renewed' })
    expect(spent).toEqual([secret('r'), secret('r-late')])
    expect(await view.getAccessToken()).toBe(secret('view'))
    expect(await session.getAccessToken()).toBe(secret('new'))
  })
})
