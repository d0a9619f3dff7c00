import { describe, expect, it, vi } from 'vitest'
import { Access, abortable } from '../../src/engine/access.ts'
import { lockTimeout, type Outcome } from '../../src/engine/flight.ts'
import type { Identity } from '../../src/engine/identity.ts'
import type { Renewal } from '../../src/engine/renewal.ts'
import type { Subject } from '../../src/engine/subject.ts'
import { signedOutFailure, type TokenManager } from '../../src/engine/token-manager.ts'
import { SessionError, toError } from '../../src/values/errors.ts'
import { secret } from '../support/no-leaks.ts'
import { deferred, settle } from './contexts-fakes.ts'

interface Options {
  remaining?: number
  ahead?: number
  lifetime?: number
  age?: number
  canRenew?: boolean
  isHeld?: boolean
  isInteractive?: boolean
  isHeadless?: boolean
  subject?: Subject
}

/** An access over parts that the test moves by hand. */
function setUp(options: Options = {}) {
  const { remaining = 60_000, ahead = 10_000, lifetime = 300_000, age = 60_000, canRenew = true } = options
  const make = (name: string, id = 'sign-in') => ({
    record: {
      id,
      generation: 1,
      tokens: { accessToken: secret(name), tokenType: 'Bearer' },
      refused: undefined as true | undefined,
    },
    life: { aheadMs: ahead, lifetimeMs: lifetime, bornMonotonicMs: 0 as number | undefined },
  })
  const over = deferred()
  const manager = {
    held: options.isHeld === false ? undefined : make('old'),
    status: 'signed-in' as string,
    state: { status: 'signed-in' } as { status: string; error?: SessionError },
    epoch: 1,
    isSignedOutOnPurpose: false,
    remaining,
    age,
    can: canRenew,
    remainingMs: () => manager.remaining,
    ageMs: () => manager.age,
    canRenew: () => manager.can,
    signedOutError: () => manager.state.error ?? toError(signedOutFailure('requested')),
    whenOver: vi.fn(() => over.promise),
    end: vi.fn((_reason: string) => {
      manager.held = undefined
    }),
  }
  const renewing: { token: string; isUrgent: boolean; outcome: ReturnType<typeof deferred<Outcome>> }[] = []
  const renewal = {
    renew: vi.fn((token: string, isUrgent: boolean, _subject?: Subject) => {
      const outcome = deferred<Outcome>()
      renewing.push({ token, isUrgent, outcome })
      return outcome.promise
    }),
  }
  const open = vi.fn((): Promise<void> | undefined => undefined)
  const identity = { read: vi.fn(() => undefined as unknown) }
  const signIn = vi.fn(async (): Promise<Outcome> => ({ how: 'renewed' }))
  const assertUsable = vi.fn((_signal?: unknown) => undefined as undefined)
  const access = new Access(
    {
      open,
      identity: identity as unknown as Identity,
      renewal: renewal as unknown as Renewal,
      signInHeadless: options.isHeadless ? signIn : undefined,
      isInteractive: options.isInteractive === true,
      minIntervalMs: 5000,
      assertUsable,
    },
    manager as unknown as TokenManager,
    options.subject,
  )
  /** The renewal under way ends with a new token. */
  const bring = (name: string, how: 'renewed' | 'adopted' = 'renewed', remainingMs = 300_000) => {
    manager.held = make(name)
    manager.remaining = remainingMs
    renewing.at(-1)?.outcome.resolve({ how })
  }
  return { access, manager, renewal, renewing, open, identity, signIn, assertUsable, over, make, bring }
}

const tokenOf = (held: { record: { tokens: { accessToken: string } } } | undefined) => held?.record.tokens.accessToken

describe('the token at hand', () => {
  it.each([
    ['fresh', 10_001, true, false],
    ['about to end', 10_000, true, true],
    ['in its last moment', 1, true, true],
    ['dead', 0, false, false],
    ['long dead', -5, false, false],
  ])('%s', (_what, remaining, isGiven, isRenewed) => {
    const { access, manager, renewal } = setUp({ remaining })
    expect(access.peek()).toBe(isGiven ? manager.held : undefined)
    expect(renewal.renew.mock.calls).toEqual(isRenewed ? [[secret('old'), false, undefined]] : [])
  })

  it('is none where nobody is signed in, or the app woke up', () => {
    expect(setUp({ isHeld: false }).access.peek()).toBeUndefined()
    const { access } = setUp()
    access.wake()
    expect(access.peek()).toBeUndefined()
  })

  it('is none for a body that can be sent once, where it is about to end and can be renewed', () => {
    const { access, manager, renewal } = setUp({ remaining: 5000 })
    expect(access.peek(true)).toBeUndefined()
    manager.can = false
    expect(access.peek(true)).toBe(manager.held)
    manager.remaining = 20_000
    manager.can = true
    expect(access.peek(true)).toBe(manager.held)
    expect(renewal.renew).not.toHaveBeenCalled()
  })

  it('that nothing can renew serves to its end', () => {
    const { access, manager, renewal } = setUp({ remaining: 1, canRenew: false })
    expect(access.peek()).toBe(manager.held)
    expect(renewal.renew).not.toHaveBeenCalled()
  })
})

describe('a call', () => {
  it('is served from memory where that will do', async () => {
    const { access, manager, renewal, open, identity, assertUsable } = setUp()
    const { signal } = new AbortController()
    expect(await access.get({ signal })).toBe(manager.held)
    expect(assertUsable.mock.calls).toEqual([[signal]])
    expect([renewal.renew.mock.calls, open.mock.calls, identity.read.mock.calls]).toEqual([[], [], []])
  })

  it('begins the renewal behind it, inside of the ahead window', async () => {
    const { access, manager, renewing } = setUp({ remaining: 5000 })
    expect(await access.get({})).toBe(manager.held)
    expect(renewing).toMatchObject([{ token: secret('old'), isUrgent: false }])
  })

  it('of a dead token waits for another, urgently', async () => {
    const { access, renewing, bring } = setUp({ remaining: 0 })
    const call = access.get({})
    await settle()
    expect(renewing).toMatchObject([{ token: secret('old'), isUrgent: true }])
    bring('new')
    expect(tokenOf(await call)).toBe(secret('new'))
  })

  it.each([
    [20_000, false],
    [60_000, true],
    [60_001, true],
    [59_999, false],
  ])('for %d ms of validity, where 60,000 are left, waits: %s', async (minValidityMs, isWaiting) => {
    const { access, renewing, bring } = setUp()
    const call = access.get({ minValidityMs })
    await settle()
    expect(renewing.map(({ isUrgent }) => isUrgent)).toEqual(isWaiting ? [false] : [])
    bring('new')
    expect(tokenOf(await call)).toBe(secret(isWaiting ? 'new' : 'old'))
  })

  it('for a body that can be sent once waits inside of the ahead window', async () => {
    const { access, renewing, bring } = setUp({ remaining: 10_000 })
    const call = access.get({ isOneShot: true })
    await settle()
    expect(renewing).toHaveLength(1)
    bring('new')
    expect(tokenOf(await call)).toBe(secret('new'))
    const fresh = setUp({ remaining: 10_001 })
    expect(await fresh.access.get({ isOneShot: true })).toBe(fresh.manager.held)
  })

  it('for more than a whole life is served by a young token, and renews an old one once', async () => {
    const young = setUp({ lifetime: 60_000, age: 4999 })
    expect(await young.access.get({ minValidityMs: 60_000 })).toBe(young.manager.held)
    expect(young.renewing).toEqual([])
    const old = setUp({ lifetime: 60_000, age: 5000 })
    const call = old.access.get({ minValidityMs: 60_000 })
    await settle()
    expect(old.renewing).toHaveLength(1)
    old.bring('new')
    expect(tokenOf(await call)).toBe(secret('new'))
    const enough = setUp({ lifetime: 60_001, age: 0 })
    void enough.access.get({ minValidityMs: 60_000 })
    await settle()
    expect(enough.renewing).toHaveLength(1)
  })

  it('is served by what nothing can renew, and ends the session once that is dead', async () => {
    const { access, manager } = setUp({ canRenew: false })
    expect(await access.get({ minValidityMs: 1e9 })).toBe(manager.held)
    manager.remaining = 0
    await expect(access.get({})).rejects.toMatchObject({ code: 'signed_out' })
    expect(manager.end.mock.calls).toEqual([['expired']])
    const other = setUp({ canRenew: false, remaining: 0 })
    if (other.manager.held) other.manager.held.record.refused = true
    await expect(other.access.get({})).rejects.toMatchObject({ code: 'signed_out' })
    expect(other.manager.end.mock.calls).toEqual([['refused']])
  })

  it('whose renewal fails is served while the old token lives, else told why', async () => {
    const living = setUp()
    const call = living.access.get({ minValidityMs: 100_000 })
    await settle()
    living.renewing[0]?.outcome.resolve(lockTimeout)
    expect(await call).toBe(living.manager.held)
    const dead = setUp({ remaining: 0 })
    const other = dead.access.get({})
    await settle()
    dead.renewing[0]?.outcome.resolve(lockTimeout)
    await expect(other).rejects.toMatchObject({ code: 'lock_timeout' })
  })

  it('is served by a token that arrived expired, and knows it', async () => {
    const { access, bring } = setUp({ remaining: 0 })
    const request: Parameters<typeof access.get>[0] = {}
    const call = access.get(request)
    await settle()
    bring('new', 'renewed', -1)
    expect(tokenOf(await call)).toBe(secret('new'))
    expect(request.isExpired).toBe(true)
    const fresh = setUp({ remaining: 0 })
    const asked: Parameters<typeof access.get>[0] = {}
    const served = fresh.access.get(asked)
    await settle()
    fresh.bring('new')
    await served
    expect(asked.isExpired).toBe(false)
  })

  it('that adopted what has expired since renews again, but not for ever', async () => {
    const { access, renewing, bring } = setUp({ remaining: 0 })
    const call = access.get({})
    for (let adoptions = 0; adoptions <= 5; adoptions++) {
      await settle()
      expect(renewing).toHaveLength(adoptions + 1)
      bring(`adopted-${adoptions}`, 'adopted', 0)
    }
    expect(tokenOf(await call)).toBe(secret('adopted-5'))
    expect(renewing).toHaveLength(6)
  })

  it('that finds what others brought in the place of its own, and dead, renews again', async () => {
    const { access, renewing, bring, manager } = setUp({ remaining: 0 })
    const call = access.get({})
    await settle()
    bring('others', 'renewed', 0)
    if (manager.held) manager.held.life.bornMonotonicMs = undefined
    await settle()
    bring('own', 'renewed', 60_000)
    expect(tokenOf(await call)).toBe(secret('own'))
    expect(renewing).toHaveLength(2)
  })

  it('that adopted what lives, if not for as long as it asked, is served by that', async () => {
    const { access, renewing, bring } = setUp()
    const call = access.get({ minValidityMs: 100_000 })
    await settle()
    bring('second', 'adopted', 50_000)
    expect(tokenOf(await call)).toBe(secret('second'))
    expect(renewing).toHaveLength(1)
  })

  it('is for what the access is for', async () => {
    const subject = {} as Subject
    const { access, renewal, manager } = setUp({ remaining: 5000, subject })
    access.peek()
    void access.replace(manager.held as never, undefined)
    expect(renewal.renew.mock.calls).toEqual([
      [secret('old'), false, subject],
      [secret('old'), true, subject],
    ])
  })

  it('whose sign-in ends while it waits is signed out, with what the renewal says of it', async () => {
    const ended = setUp({ remaining: 0 })
    const call = ended.access.get({})
    await settle()
    ended.manager.held = undefined
    ended.renewing[0]?.outcome.resolve({ ...signedOutFailure('refused'), retryAtMs: 7 })
    await expect(call).rejects.toMatchObject({ code: 'signed_out', retryAtMs: 7 })
    for (const outcome of [lockTimeout, { how: 'renewed' } as const]) {
      const replaced = setUp({ remaining: 0 })
      const other = replaced.access.get({})
      await settle()
      replaced.manager.held = replaced.make('new', 'another sign-in')
      replaced.renewing[0]?.outcome.resolve(outcome)
      await expect(other).rejects.toMatchObject({ code: 'signed_out', message: expect.stringContaining('requested') })
    }
  })

  it('of a session that was disposed of meanwhile, and heard nothing, says so', async () => {
    const { access, renewing, assertUsable } = setUp({ remaining: 0 })
    const call = access.get({})
    await settle()
    assertUsable.mockImplementation(() => {
      throw new SessionError('disposed', 'x')
    })
    renewing[0]?.outcome.resolve({ how: 'adopted' })
    await expect(call).rejects.toMatchObject({ code: 'disposed' })
    const renewed = setUp({ remaining: 0 })
    const served = renewed.access.get({})
    await settle()
    renewed.assertUsable.mockImplementation(() => expect.fail('What was brought serves who waited for it.'))
    renewed.bring('new')
    expect(tokenOf(await served)).toBe(secret('new'))
  })
})

describe('a token that a server refused', () => {
  it('is given to nobody while its replacement is under way', async () => {
    const { access, manager, renewing, bring } = setUp()
    const replacing = access.replace(manager.held as never, undefined, true)
    expect(renewing).toMatchObject([{ token: secret('old'), isUrgent: true }])
    expect(access.peek()).toBeUndefined()
    const call = access.get({})
    await settle()
    bring('new')
    expect(await replacing).toEqual({ how: 'renewed' })
    expect(tokenOf(await call)).toBe(secret('new'))
    expect(renewing).toHaveLength(1)
  })

  it('serves again where no other can be had', async () => {
    const { access, manager, renewing } = setUp()
    const replacing = access.replace(manager.held as never, undefined, true)
    const call = access.get({})
    await settle()
    renewing[0]?.outcome.resolve(lockTimeout)
    expect(await replacing).toBe(lockTimeout)
    expect(await call).toBe(manager.held)
    expect(access.peek()).toBe(manager.held)
  })

  it('is not waited for by who belongs to another sign-in', async () => {
    const { access, manager, renewing, make } = setUp()
    void access.replace(manager.held as never, undefined, true)
    const call = access.get({})
    await settle()
    manager.held = make('new', 'another')
    renewing[0]?.outcome.resolve({ how: 'adopted' })
    await expect(call).rejects.toMatchObject({ code: 'signed_out' })
  })

  it('that is refused again meanwhile waits for the later replacement', async () => {
    const { access, manager, renewing } = setUp()
    void access.replace(manager.held as never, undefined, true)
    void access.replace(manager.held as never, undefined, true)
    renewing[0]?.outcome.resolve(lockTimeout)
    await settle()
    expect(access.peek()).toBeUndefined()
    renewing[1]?.outcome.resolve(lockTimeout)
    await settle()
    expect(access.peek()).toBe(manager.held)
  })

  it('is not meant where somebody only wants another', () => {
    const { access, manager } = setUp()
    void access.replace(manager.held as never, undefined)
    expect(access.peek()).toBe(manager.held)
  })

  it('may be replaced for longer than its caller waits', async () => {
    const reason = new Error('own reason')
    const abort = new AbortController()
    const { access, manager } = setUp()
    const replacing = access.replace(manager.held as never, abort.signal, true)
    abort.abort(reason)
    await expect(replacing).rejects.toBe(reason)
    expect(access.peek()).toBeUndefined()
  })
})

describe('before the first read', () => {
  function starting(options: Options = {}) {
    const made = setUp({ isHeld: false, ...options })
    made.manager.status = 'starting'
    made.manager.state = { status: 'starting' }
    const read = deferred()
    made.open.mockReturnValue(read.promise)
    const finish = (held: ReturnType<typeof made.make> | undefined, status = held ? 'signed-in' : 'signed-out') => {
      made.manager.held = held
      made.manager.status = status
      made.manager.state = { status }
      read.resolve()
    }
    return { ...made, finish, read }
  }

  it('a call waits, and belongs to what is found', async () => {
    const { access, make, finish } = starting()
    const call = access.open(undefined)
    await settle()
    const held = make('found')
    finish(held)
    expect(await call).toBe(held)
  })

  it('a call is signed out where nothing is found', async () => {
    const { access, finish } = starting()
    const call = access.open(undefined)
    finish(undefined)
    await expect(call).rejects.toMatchObject({ code: 'signed_out' })
  })

  it('a call waits no longer than its epoch', async () => {
    const { access, over, manager } = starting()
    const call = access.open(undefined)
    expect(manager.whenOver.mock.calls).toEqual([[1]])
    manager.status = 'signed-out'
    over.resolve()
    await expect(call).rejects.toMatchObject({ code: 'signed_out' })
  })

  it('a call that began before a sign-in of the app is not its', async () => {
    const { access, manager, make, finish } = starting()
    const call = access.open(undefined)
    manager.epoch = 2
    finish(make('signed in meanwhile'))
    await expect(call).rejects.toMatchObject({ code: 'signed_out' })
  })

  it('a read that failed is the answer, with what is known of it', async () => {
    const { access, manager, read } = starting()
    const call = access.open(undefined)
    manager.state = { status: 'starting', error: new SessionError('storage_unavailable', 'locked') }
    read.resolve()
    await expect(call).rejects.toMatchObject({ code: 'storage_unavailable', message: 'locked' })
    const other = starting()
    const silent = other.access.open(undefined)
    other.read.resolve()
    await expect(silent).rejects.toMatchObject({ code: 'signed_out' })
  })

  it('a caller waits no longer than it wants to', async () => {
    const reason = new Error('own reason')
    const abort = new AbortController()
    const { access } = starting()
    const call = access.open(abort.signal)
    abort.abort(reason)
    await expect(call).rejects.toBe(reason)
    await expect(setUp().access.open(AbortSignal.abort(reason))).rejects.toBe(reason)
  })

  it('a grant that needs no human signs in where nothing is known, unless the read failed', async () => {
    const { access, signIn, finish, read, manager, make } = starting({ isHeadless: true })
    signIn.mockImplementation(async () => {
      finish(make('by itself'))
      manager.epoch = 2
      return { how: 'renewed' }
    })
    read.resolve()
    await expect(access.open(undefined)).rejects.toMatchObject({ code: 'signed_out' })
    expect(signIn).toHaveBeenCalledTimes(1)
    const failed = starting({ isHeadless: true })
    const call = failed.access.open(undefined)
    failed.manager.state = { status: 'starting', error: new SessionError('storage_unavailable', 'locked') }
    failed.read.resolve()
    await expect(call).rejects.toMatchObject({ code: 'storage_unavailable' })
    expect(failed.signIn).not.toHaveBeenCalled()
  })
})

describe('after a wake', () => {
  it('the storage is read once for all calls, before any is served', async () => {
    const { access, identity, manager } = setUp()
    const read = deferred()
    identity.read.mockReturnValue(read.promise)
    access.wake()
    const calls = [access.get({}), access.get({})]
    await settle()
    expect(identity.read.mock.calls).toEqual([[false]])
    read.resolve()
    expect(await Promise.all(calls)).toEqual([manager.held, manager.held])
    expect(access.peek()).toBe(manager.held)
    await access.get({})
    expect(identity.read).toHaveBeenCalledTimes(1)
    access.wake()
    await access.get({})
    expect(identity.read).toHaveBeenCalledTimes(2)
  })

  it('a storage that prompts is not read', async () => {
    const { access, identity, manager } = setUp({ isInteractive: true })
    access.wake()
    expect(await access.get({})).toBe(manager.held)
    expect(identity.read).not.toHaveBeenCalled()
    expect(access.peek()).toBe(manager.held)
  })

  it('a call where nobody was signed in is served by the sign-in that is found', async () => {
    const { access, identity, manager, make } = setUp({ isHeld: false })
    manager.status = 'signed-out'
    const found = make('found')
    identity.read.mockImplementation(() => {
      Object.assign(manager, { held: found, status: 'signed-in', epoch: 2 })
    })
    access.wake()
    expect(await access.get({})).toBe(found)
  })

  it('a call that finds another sign-in there is not its', async () => {
    const { access, identity, manager, make } = setUp()
    identity.read.mockImplementation(() => {
      manager.held = make('new', 'another')
    })
    access.wake()
    await expect(access.get({})).rejects.toMatchObject({ code: 'signed_out' })
  })
})

describe('a grant that needs no human', () => {
  it('signs in where nobody is, and not where somebody signed out', async () => {
    const { access, manager, signIn, make } = setUp({ isHeld: false, isHeadless: true })
    manager.status = 'signed-out'
    signIn.mockImplementation(async () => {
      manager.held = make('by itself')
      return { how: 'renewed' }
    })
    expect(tokenOf(await access.open(undefined))).toBe(secret('by itself'))
    manager.held = undefined
    manager.isSignedOutOnPurpose = true
    await expect(access.open(undefined)).rejects.toMatchObject({ code: 'signed_out' })
    expect(signIn).toHaveBeenCalledTimes(1)
  })

  it('whose sign-in fails is the answer', async () => {
    const { access, signIn, manager } = setUp({ isHeld: false, isHeadless: true })
    manager.status = 'signed-out'
    signIn.mockResolvedValue(lockTimeout)
    await expect(access.open(undefined)).rejects.toMatchObject({ code: 'lock_timeout' })
    signIn.mockResolvedValue({ how: 'adopted' })
    await expect(access.open(undefined)).rejects.toMatchObject({ code: 'signed_out' })
  })

  it('signs in again where a dead token can not be renewed', async () => {
    const { access, manager, signIn, make } = setUp({ isHeadless: true, canRenew: false, remaining: 0 })
    signIn.mockImplementation(async () => {
      manager.held = make('by itself')
      manager.remaining = 60_000
      return { how: 'renewed' }
    })
    expect(tokenOf(await access.get({}))).toBe(secret('by itself'))
    expect(manager.end.mock.calls).toEqual([['expired']])
  })
})

describe('abortable', () => {
  const reason = new Error('own reason')

  it('is the work itself where nobody can abort', async () => {
    const work = Promise.resolve(1)
    expect(abortable(work, undefined)).toBe(work)
    expect(abortable(work, null)).toBe(work)
  })

  it('settles as the work does, and listens no longer', async () => {
    const { signal } = new AbortController()
    const [add, remove] = [vi.spyOn(signal, 'addEventListener'), vi.spyOn(signal, 'removeEventListener')]
    await expect(abortable(Promise.resolve(1), signal)).resolves.toBe(1)
    await expect(abortable(Promise.reject(new Error('failed')), signal)).rejects.toThrow('failed')
    await settle()
    expect(remove.mock.calls.map(([type, listener]) => [type, listener])).toEqual(
      add.mock.calls.map(([type, listener]) => [type, listener]),
    )
  })

  it('rejects with the reason, of now or later', async () => {
    await expect(abortable(new Promise(() => undefined), AbortSignal.abort(reason))).rejects.toBe(reason)
    const abort = new AbortController()
    const waiting = abortable(new Promise(() => undefined), abort.signal)
    abort.abort(reason)
    await expect(waiting).rejects.toBe(reason)
  })
})
