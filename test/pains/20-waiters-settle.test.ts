import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createSession, type GrantFunction, type SessionError } from '../../src/index.ts'
import { createClock } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

const url = 'https://api.example.com/items'
beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

async function setUp(grant: GrantFunction) {
  const clock = createClock()
  const sent: string[] = []
  const session = createSession({
    resources: 'https://api.example.com',
    grant,
    clock,
    fetch: async (_input, init) => {
      sent.push(String(new Headers(init?.headers).get('authorization')))
      return new Response('ok')
    },
  })
  await session.adopt({ access_token: secret('old'), refresh_token: secret('r'), expires_in: 60 })
  clock.advance(61_000)
  return { session, sent, clock }
}

const broken: [what: string, grant: GrantFunction, code: string][] = [
  ['rejects', () => Promise.reject(new Error('down')), 'unreachable'],
  ['rejects with nothing', () => Promise.reject(undefined), 'unreachable'],
  [
    'throws at once',
    () => {
      throw new Error('a bug')
    },
    'unreachable',
  ],
  ['hangs', () => new Promise(() => undefined), 'unreachable'],
  ['resolves with undefined', async () => undefined as never, 'invalid_token_response'],
  ['resolves at once, without a promise', (() => undefined) as never, 'invalid_token_response'],
  ['resolves with a page', async () => '<html>' as never, 'invalid_token_response'],
]

it.each(broken)(
  'pain 20: a grant that %s leaves nobody waiting, and no request goes out with the old token',
  async (_what, grant, code) => {
    const { session, sent } = await setUp(grant)
    const calls = Promise.allSettled([
      ...Array.from({ length: 10 }, () => session.fetch(url)),
      session.getAccessToken(),
      session.renew(),
    ])
    await vi.advanceTimersByTimeAsync(30_000)
    const errors = (await calls).map(result => (result as PromiseRejectedResult).reason as SessionError)
    for (const error of errors) expect(error).toMatchObject({ name: 'SessionError', code, retryable: true })
    expect(new Set(errors).size).toBe(errors.length)
    expect(new Set(errors.map(({ cause }) => cause)).size).toBe(1)
    expect(sent).toEqual([])
    expect(session.state.status).toBe('signed-in')
  },
)

it('pain 20: the time limit aborts what the grant does', async () => {
  let signal: AbortSignal | undefined
  const { session } = await setUp((_tokens, context) => {
    signal = context.signal
    return new Promise(() => undefined)
  })
  const call = expect(session.fetch(url)).rejects.toMatchObject({ code: 'unreachable' })
  await vi.advanceTimersByTimeAsync(29_999)
  expect(signal?.aborted).toBe(false)
  await vi.advanceTimersByTimeAsync(1)
  expect(signal?.aborted).toBe(true)
  await call
})

it('pain 20: a caller’s own signal ends its wait at once, with its own reason, and nobody else’s', async () => {
  let answer: (response: object) => void = () => undefined
  let renewals = 0
  const { session, sent } = await setUp(() => {
    renewals++
    return new Promise(resolve => {
      answer = resolve as typeof answer
    })
  })
  const controller = new AbortController()
  const reason = new Error('the user went on')
  const impatient = session.fetch(url, { signal: controller.signal })
  const patient = session.fetch(url)
  const token = session.getAccessToken({ signal: controller.signal })
  await vi.advanceTimersByTimeAsync(10)
  controller.abort(reason)
  await expect(impatient).rejects.toBe(reason)
  await expect(token).rejects.toBe(reason)
  answer({ access_token: secret('new'), expires_in: 60 })
  expect((await patient).status).toBe(200)
  expect(sent).toEqual([`Bearer ${secret('new')}`])
  expect(renewals).toBe(1)
})

it('pain 20: a renewal that everybody left is saved all the same', async () => {
  let answer: (response: object) => void = () => undefined
  const { session, sent } = await setUp(
    () =>
      new Promise(resolve => {
        answer = resolve as typeof answer
      }),
  )
  const controller = new AbortController()
  const call = session.fetch(url, { signal: controller.signal })
  await vi.advanceTimersByTimeAsync(10)
  controller.abort()
  await expect(call).rejects.toMatchObject({ name: 'AbortError' })
  answer({ access_token: secret('new'), expires_in: 60 })
  await vi.advanceTimersByTimeAsync(10)
  await session.fetch(url)
  expect(sent).toEqual([`Bearer ${secret('new')}`])
})
