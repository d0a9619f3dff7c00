import { everyInput, type Subject } from '../harness/subject.ts'

/** The fetch underneath, with nothing added: the physical limit. */
export const bare: Subject = {
  name: 'bare fetch',
  inputs: everyInput,
  cannot: {
    attach: 'no token',
    renew: 'no token',
    proactive: 'no token',
    reactive: 'no token',
    ahead: 'no token',
    contexts: 'no token',
    scale: 'nothing to create',
    bytes: 'part of the platform',
  },
  create: ({ fetch }) => ({ fetch }),
}
