import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { everyInput, type Subject, type World } from '../harness/subject.ts'

type Latchkey = typeof import('../../../src/index.ts')
type LatchkeyNode = typeof import('../../../src/node.ts')
type Grant = Parameters<Latchkey['createSession']>[0]['grant']

interface LatchkeySubject extends Subject {
  readonly createSession: Latchkey['createSession']
  readonly node: () => Promise<LatchkeyNode>
}

/** The package as it is built, or another build of it, to be compared. */
export async function latchkeyFrom(folder: string, name: string): Promise<LatchkeySubject> {
  const at = (file: string) => pathToFileURL(resolve(folder, file)).href
  const entry = JSON.stringify(resolve(folder, 'index.js'))
  const { createSession } = (await import(at('index.js'))) as Latchkey
  return {
    name,
    inputs: everyInput,
    entries: {
      createSession: `export { createSession } from ${entry}`,
      'createSession, passwordGrant': `export { createSession, passwordGrant } from ${entry}`,
    },
    createSession,
    node: () => import(at('node.js')),
    async create(world) {
      const { origin, fetch, tokens, obtainedAtMs, shared } = world
      const session = createSession({
        resources: origin,
        fetch,
        ...(shared && { storage: storageOn(shared) }),
        grant: grantOf(world),
      })
      if (!shared?.size) await session.adopt(tokens, Date.now() - obtainedAtMs > 1000 ? { obtainedAtMs } : undefined)
      await session.ready
      return { fetch: session.fetch, close: session.dispose }
    },
  }
}

export const isLatchkey = (subject: Subject): subject is LatchkeySubject => 'createSession' in subject

/** Sessions as a backend makes them: one for each user, alone or out of a pool. */
export async function createLatchkeySessions(subject: Subject, world: World) {
  if (!isLatchkey(subject)) throw new Error('Not Latchkey')
  const { createSessions } = await subject.node()
  const options = { resources: world.origin, fetch: world.fetch, grant: grantOf(world) }
  const sessions = createSessions({ ...options, max: Number.POSITIVE_INFINITY })
  return {
    created: () => subject.createSession(options),
    pool: (userId: string) => sessions.for(userId),
  }
}

function grantOf({ tokenEndpoint }: World): Extract<Grant, (...given: never[]) => unknown> {
  return async ({ refreshToken = '' }, { fetch }) => {
    const response = await fetch(tokenEndpoint, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken }),
    })
    if (!response.ok) throw response
    return response.json()
  }
}

/** Each context has a storage object of its own on what all share: no flight is shared but by the lock. */
const storageOn = (shared: Map<string, string>) => ({
  getItem: async (key: string) => shared.get(key),
  setItem: async (key: string, value: string) => void shared.set(key, value),
  removeItem: async (key: string) => void shared.delete(key),
})
