import { createSession, type Lock, passwordGrant, type SessionOptions } from '../../src/index.ts'
import { pass, recordEvents, settle } from '../pains/support.ts'
import { api, createClock, createStrictServer, tokenEndpoint, user } from '../servers/strict-authorization-server.ts'

export { caught, deferred, settle } from '../pains/support.ts'

export const key = 'latchkey:api.example.com'
const alone: Lock = { request: async (_name, _options, callback) => callback({}) }

/** A user who is signed in by password at a strict server, on a storage and a line that tests can reach. */
export async function signedIn(more: Partial<SessionOptions<typeof user>> = {}, lifetimeSeconds = 300) {
  const clock = createClock()
  const server = createStrictServer({ clock, lifetimeSeconds })
  const items = new Map<string, string>()
  const line: { answer?: ((request: Request) => Response | Promise<Response> | undefined) | undefined } = {}
  const sent: { url: string; authorization: string | null }[] = []
  const session = createSession({
    resources: api,
    grant: passwordGrant({ tokenEndpoint, clientId: 'app' }),
    clock,
    lock: alone,
    channel: { postMessage() {}, addEventListener() {}, removeEventListener() {}, close() {} },
    storage: {
      getItem: name => items.get(name),
      setItem: (name, value) => void items.set(name, value),
      removeItem: name => void items.delete(name),
    },
    async fetch(input, init) {
      const request = new Request(input, init)
      sent.push({ url: request.url, authorization: request.headers.get('authorization') })
      return (await line.answer?.(request)) ?? server.handle(request)
    },
    ...more,
  })
  const events = recordEvents(session as never)
  await session.signIn(user)
  await settle()
  /** The token comes to its end. */
  const expire = () => clock.advance(lifetimeSeconds * 1000 + 1000)
  /** Only the token endpoint answers like this. */
  const tokenAnswers = (answer: typeof line.answer) => {
    line.answer = answer && (request => (request.url === tokenEndpoint ? answer(request) : undefined))
  }
  return {
    session,
    clock,
    server,
    items,
    line,
    sent,
    events,
    expire,
    tokenAnswers,
    pass: (ms: number) => pass(clock, ms),
  }
}
