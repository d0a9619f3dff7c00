import { describe, expect, it } from 'vitest'
import { access, listen, open } from './server.ts'

type Facts = { renewals: number; sends: number; status: number; event?: object }
const renewed: Facts = { renewals: 1, sends: 2, status: 200 }
const asItIs: Facts = { renewals: 0, sends: 1, status: 401 }

const table: readonly [what: string, headers: string[], facts: Facts, status?: number][] = [
  ['none at all', [], renewed],
  ['an empty one', [''], renewed],
  ['Bearer alone', ['Bearer'], renewed],
  ['invalid_token', ['Bearer realm="api", error="invalid_token"'], renewed],
  ['a scheme in another case and spaces', ['bEaReR   realm = "api" ,error = invalid_token'], renewed],
  ['several challenges in one header', ['Negotiate, Basic realm="a, b", Bearer error="invalid_token"'], renewed],
  ['several headers', ['Basic realm="x"', 'Bearer error="invalid_token"'], renewed],
  ['an unknown scheme', ['Hobo sig="a", realm="b"'], renewed],
  ['a challenge of token68', ['NTLM TlRMTVNTUAACAAAA=='], renewed],
  ['parameters without a scheme', ['error="invalid_token"'], renewed],
  ['quotes that do not end', ['Bearer realm="api'], renewed],
  ['insufficient_scope inside a realm', ['Bearer realm="error=\\"insufficient_scope\\""'], renewed],
  ['insufficient_scope of another scheme', ['Basic error="insufficient_scope", Bearer error="invalid_token"'], renewed],
  ['invalid_request', ['Bearer error="invalid_request"'], asItIs],
  [
    'insufficient_scope',
    ['Bearer realm="api", error="insufficient_scope", scope="write admin"'],
    { ...asItIs, event: { scope: 'write admin' } },
  ],
  [
    'insufficient_scope with a 403, as RFC 6750 has it',
    ['Negotiate', 'Bearer error="insufficient_scope", scope="write"'],
    { ...asItIs, status: 403, event: { scope: 'write' } },
    403,
  ],
  ['a 403 that says nothing', [], { ...asItIs, status: 403 }, 403],
  ['invalid_token with a 403', ['Bearer error="invalid_token"'], { ...asItIs, status: 403 }, 403],
  [
    'step-up of RFC 9470',
    ['Bearer error="insufficient_user_authentication", acr_values="urn:mfa urn:pin", max_age="300"'],
    { ...asItIs, event: { acrValues: 'urn:mfa urn:pin', maxAge: 300 } },
  ],
]

describe('WWW-Authenticate over the wire (RFC 9110 §11.6.1)', () => {
  it.each(table)('%s', async (_, challenges, { event, ...facts }, status = 401) => {
    const api = await listen(({ headers }, response) => {
      if (headers.authorization === `Bearer ${access(2)}`) return
      if (challenges.length) response.setHeader('WWW-Authenticate', challenges)
      response.writeHead(status).end('the answer')
    })
    const { session, renewals } = await open(api.origin)
    const events: unknown[] = []
    session.on('insufficient-scope', payload => events.push(payload))
    const response = await session.fetch(`${api.origin}/items?q=1`)
    expect({ renewals: renewals.length, sends: api.seen.length, status: response.status }).toEqual(facts)
    expect(events).toEqual(event ? [{ url: `${api.origin}/items`, ...event }] : [])
    expect(await response.text()).toBe(facts.status === 200 ? 'ok' : 'the answer')
  })
})
