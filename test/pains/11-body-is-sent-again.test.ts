import { expect, it } from 'vitest'
import { access, listen, onlyToken, open } from '../fetch/server.ts'

// The whole matrix of bodies: test/fetch/bodies.test.ts; on every runtime: npm run test:runtimes.
it('pain 11: twenty Requests with bodies that meet a 401 at once are all sent again, each with its own body', async () => {
  const api = await listen(onlyToken(2))
  const { session, renewals } = await open(api.origin)
  const bodies = Array.from({ length: 20 }, (_, index) => JSON.stringify({ index, text: 'x'.repeat(index * 997) }))
  const requests = bodies.map(body => new Request(`${api.origin}/`, { method: 'POST', body }))
  const answers = await Promise.all(requests.map(request => session.fetch(request)))
  expect(answers.map(({ status }) => status)).toEqual(bodies.map(() => 200))
  const withToken = (number: number) =>
    api.seen.filter(({ headers }) => headers.authorization === `Bearer ${access(number)}`).map(({ body }) => body)
  expect(withToken(2).sort()).toEqual([...bodies].sort())
  expect(withToken(1).every(body => bodies.includes(body))).toBe(true)
  expect(renewals).toHaveLength(1)
})
