import { afterAll, beforeEach } from 'vitest'

// All files run in one thread: a lock that one of them leaves held is not the next one's.
const { locks } = globalThis.navigator
const request = locks.request.bind(locks) as (...given: unknown[]) => Promise<unknown>
const file = `${performance.now()}:`
Object.defineProperty(globalThis.navigator, 'locks', {
  configurable: true,
  value: { request: (name: string, ...rest: unknown[]) => request(file + name, ...rest), query: () => locks.query() },
})

// Nor does a session that one of them left behind set a timer in the next.
const { setTimeout: real } = globalThis
const timers = new Set<NodeJS.Timeout>()
const noted = (...given: Parameters<typeof real>) => {
  const timer = real(...given)
  timers.add(timer)
  return timer
}
globalThis.setTimeout = Object.assign(noted, real)
afterAll(() => {
  for (const timer of timers) clearTimeout(timer)
  globalThis.setTimeout = real
})

// Each takes 150 ms or more, for every mutant that it reaches. The quick ones beside them ask the same in fewer rounds.
const slow = [
  /1,000 users with 1,000 interleaved requests/,
  /no token crosses where most users are forgotten/,
  /is that of `max` sessions/,
  /could not be saved and was refused leaves the one that it replaced/,
  /never throws, and what it takes is whole/,
  /reads any header without throwing/,
  /makes no session throw or hang/,
  /over any schedule of requests, answers and expiries/,
  /a grant that calls its own session by/,
  /keeps the session, and a later renewal succeeds/,
  /whenever the calls come while a renewal runs/,
  /after a tunnel in the middle of a renewal/,
  /who loses? adopt|those that lose adopt what the winner got/,
  /aborts at any turn/,
  /again and again, and the family lives/,
  /tells in its time who is signed in/,
  /asks for the token at each connect/,
  /costs one token call, however often the app asks/,
  /100 rounds long/,
  /is the end of the old session/,
]
beforeEach(({ task, skip }) => {
  if (slow.some(name => name.test(task.name))) skip()
})
