import type { Figure } from '../harness/figure.ts'
import { outage } from '../harness/outage.ts'

export const endpointDown: Figure = {
  number: 7,
  title: 'The token endpoint is down',
  run: async context => [await outage(context, '503 twice, then well', 3, { faults: [503, 503] })],
}
