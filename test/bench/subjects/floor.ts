import { everyInput, type Subject } from '../harness/subject.ts'

const renewsNot = 'does not renew'

/** The least that attaches a token: an async function and a header literal. */
export const floor: Subject = {
  name: 'floor',
  inputs: everyInput,
  entries: {
    'the wrapper alone': `export const wrap = token => async (input, init) =>
      fetch(input, { ...init, headers: { ...init?.headers, Authorization: 'Bearer ' + token } })`,
  },
  cannot: { renew: renewsNot, proactive: renewsNot, reactive: renewsNot, ahead: renewsNot, contexts: renewsNot },
  create({ fetch, tokens: { access_token } }) {
    return {
      async fetch(input, init) {
        if (typeof input === 'object' && 'headers' in input) {
          const request = new Request(input, init)
          request.headers.set('Authorization', `Bearer ${access_token}`)
          return fetch(request)
        }
        return fetch(input, { ...init, headers: { ...init?.headers, Authorization: `Bearer ${access_token}` } })
      },
    }
  },
}
