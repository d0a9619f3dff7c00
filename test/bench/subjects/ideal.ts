import { everyInput, requestTokens, type Subject } from '../harness/subject.ts'
import { idealFetch } from './ideal-fetch.ts'

/** The hand-written ideal: as good as code without storage, tabs, allowlist, streams and redirects gets. */
export const ideal: Subject = {
  name: 'ideal',
  inputs: everyInput,
  entries: { 'the function alone': "export { idealFetch } from './subjects/ideal-fetch.ts'" },
  cannot: { ahead: 'waits for each renewal', contexts: 'one context' },
  create: world => ({
    fetch: idealFetch(world.fetch, world.tokens, world.obtainedAtMs, refreshToken =>
      requestTokens(world, refreshToken),
    ),
  }),
}
