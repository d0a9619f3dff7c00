import type { Clients } from './clients.ts'
import { knownScopes } from './scopes.ts'
import type { Users } from './users.ts'

/** Printed on the demo's pages, so it is no secret. */
export const demoUser = { username: 'alice', password: 'a-key-under-the-mat' }

/** A user and the public app of the house, so that there is something to sign in with. */
export async function seedDemo(users: Users, clients: Clients): Promise<void> {
  await users.add(demoUser.username, demoUser.password)
  await clients.create({
    id: 'demo',
    name: 'The demo',
    public: true,
    firstParty: true,
    scopes: knownScopes,
    addresses: [],
  })
}
