import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createSession, passwordGrant, refused } from '../../src/index.ts'
import { api, createClock, createStrictServer, tokenEndpoint, user } from '../servers/strict-authorization-server.ts'
import { secret } from '../support/no-leaks.ts'

it.each([0, 1, 1000, 4999, 5000, 60_000])(
  'pain 28: a 401 about the old token that arrives %d ms after the new one is stored starts no renewal',
  async ms => {
    const clock = createClock()
    const server = createStrictServer({ clock })
    const sent: (string | null)[] = []
    let letGo: () => void = () => undefined
    const gate = new Promise<void>(resolve => {
      letGo = resolve
    })
    const session = createSession({
      resources: api,
      grant: passwordGrant({ tokenEndpoint, clientId: 'app' }),
      clock,
      fetch: async (input, init) => {
        const request = new Request(input, init)
        const answer = await server.handle(request)
        if (request.url.endsWith('/slow')) {
          sent.push(request.headers.get('authorization'))
          if (sent.length === 1) await gate
        }
        return answer
      },
    })
    await session.signIn(user)
    clock.advance(10_000)
    server.expireAccess()
    const slow = session.fetch(`${api}/slow`)
    expect((await session.fetch(`${api}/quick`)).status).toBe(200)
    clock.advance(ms)
    letGo()
    expect((await slow).status).toBe(200)
    expect(sent).toEqual([1, 2].map(number => `Bearer ${secret(`access-${number}`)}`))
    expect(server.stats).toMatchObject({ renewals: 1, reuses: 0 })
  },
)

it('pain 28: over any schedule of requests, answers and expiries, each refresh token is sent once', async () => {
  let reached = 0
  const step = fc.constantFrom('request', 'request', 'go on', 'go on', 'go on', 'expire', 'pass')
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.array(step, { minLength: 20, maxLength: 60 }), async (scheduler, steps) => {
      const clock = createClock()
      const server = createStrictServer({ clock })
      const spent: string[] = []
      const session = createSession({
        resources: api,
        clock,
        async grant({ refreshToken = '' }) {
          spent.push(refreshToken)
          await scheduler.schedule(Promise.resolve(), 'to the server')
          const tokens = server.rotate(refreshToken)
          await scheduler.schedule(Promise.resolve(), 'from the server')
          if (!tokens) throw refused()
          return tokens
        },
        async fetch(input, init) {
          await scheduler.schedule(Promise.resolve(), 'to the API')
          const answer = await server.fetch(input, init)
          await scheduler.schedule(Promise.resolve(), 'from the API')
          return answer
        },
      })
      await session.adopt(server.signIn())
      const calls: Promise<Response>[] = []
      let overlaps = 0
      for (const step of steps) {
        if (step === 'request') calls.push(session.fetch(`${api}/${calls.length}`))
        else if (step === 'go on') {
          if (scheduler.count() > 0) await scheduler.waitOne()
          for (let turn = 0; turn < 20; turn++) await undefined
        } else {
          clock.advance(step === 'pass' ? 301_000 : 6000)
          if (step === 'expire') server.expireAccess()
          if (scheduler.count() > 1) overlaps++
        }
      }
      const answers = await scheduler.waitFor(Promise.all(calls))
      // A token that was taken away again while the request was sent anew: that 401 is the server's answer.
      for (const { status } of answers) expect([200, 401]).toContain(status)
      expect(server.stats).toMatchObject({ reuses: 0, refusals: 0 })
      expect(new Set(spent).size).toBe(spent.length)
      if (spent.length > 1 && overlaps > 0) reached++
    }),
    { numRuns: 500 },
  )
  // The race was there: tokens died while several requests were on their way.
  expect(reached).toBeGreaterThan(100)
})
