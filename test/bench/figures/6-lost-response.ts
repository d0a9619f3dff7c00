import type { Figure } from '../harness/figure.ts'
import { outage } from '../harness/outage.ts'

/** The server rotated the refresh token and its answer never arrived. */
export const lostResponse: Figure = {
  number: 6,
  title: 'A lost renewal response',
  run: async context => [
    await outage(context, 'The first answer is lost, the spent token works for 10 s more', 2, {
      faults: ['lost'],
      reuseMs: 10_000,
    }),
  ],
}
