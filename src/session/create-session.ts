import { isFailure } from '../engine/flight.ts'
import type { SessionState } from '../engine/token-manager.ts'
import { toError } from '../values/errors.ts'
import { createResourceMatcher, type ResourceMatcher } from '../values/resources.ts'
import type { Session, SessionBase, SessionCalls, SessionOptions, SessionView } from './options.ts'
import { adopt, completeSignIn, signIn, signOut } from './sign-ins.ts'
import { Core, type Part } from './wiring.ts'

const serverState: SessionState = { status: 'starting' }
const running = Symbol('running')

/** All sessions share these getters: an object with getters of its own is a hash table to engines, some hundred bytes bigger. */
class Look {
  // A function, so that no token shows where a session is printed.
  private readonly [running]: () => Core

  constructor(start: () => Core) {
    this[running] = start
  }

  get ready(): Promise<void> {
    const { manager } = this[running]()
    if (manager.status !== 'starting') return Promise.resolve()
    return new Promise<void>(resolve => {
      const stop = manager.subscribe(() => {
        if (manager.status === 'starting') return
        stop()
        resolve()
      })
    })
  }

  get state(): SessionState {
    return this[running]().manager.state
  }
}

/**
 * Makes a session. It touches no global and does no I/O: the first `state`, `subscribe`, `ready` or call starts it.
 * @throws SessionError `misconfigured`, saying what to write instead
 */
export function createSession<SignIn = never>(options: SessionOptions<SignIn>): Session<SignIn> {
  const core = new Core(options as unknown as SessionOptions<never>)
  const start = () => core.start()
  const dispose = () => core.dispose()
  const session = Object.assign(new Look(start), callsOf(core, start, core.isResource), {
    signIn: (input: never) => signIn(core, input),
    completeSignIn: (url?: string) => completeSignIn(core, url),
    adopt: (...given: Parameters<SessionBase['adopt']>) => adopt(core, ...given),
    for(target: Parameters<SessionBase['for']>[0]): SessionView {
      const { completeSignIn, signOut, subscribe, on } = session
      const matcher = target.resource ? createResourceMatcher(target.resource) : core.isResource
      return Object.assign(
        new Look(start),
        callsOf(core, () => core.start().view(target, matcher), matcher),
        { completeSignIn, signOut, subscribe, on, for: session.for },
      )
    },
    signOut: (...given: Parameters<SessionBase['signOut']>) => signOut(core, ...given),
    subscribe: (listener: () => void) => core.start().manager.subscribe(listener),
    on: ((type, listener) => core.emitter.on(type, listener)) as SessionBase['on'],
    dispose,
    [Symbol.dispose ?? Symbol.for('Symbol.dispose')]: dispose,
  })
  return session as unknown as Session<SignIn>
}

/** What a session and its views do alike, each with a token of its own. */
function callsOf(
  core: Core,
  part: () => Part,
  matcher: ResourceMatcher,
): SessionCalls & Pick<SessionBase, 'serverState'> {
  return {
    serverState,
    fetch: ((input: string | URL | Request, init: RequestInit | undefined = undefined) =>
      part().authFetch.fetch(input, init)) as typeof fetch,
    async getAccessToken(request = {}) {
      const held = await part().access.get(request)
      return held.record.tokens.accessToken
    },
    async authorizationHeaders(url, { method = 'GET', signal } = {}) {
      if (!matcher(String(url))) return {}
      const { record } = await part().access.get({ signal })
      const { attach } = core
      return attach({ method, url: String(url) }, record.tokens)
    },
    async renew({ signal } = {}) {
      const { access } = part()
      const outcome = await access.replace(await access.open(signal), signal)
      if (isFailure(outcome)) throw toError(outcome)
      return outcome
    },
  }
}
