import { configureRefreshFetch } from 'refresh-fetch'
import { everyInput, keepTokens, type Subject } from '../harness/subject.ts'

const reactsOnly = 'acts on a 401 only'

/** Around a fetch of one's own that attaches the token and rejects on a 401, as its documentation shows. */
export const refreshFetch: Subject = {
  name: 'refresh-fetch',
  package: 'refresh-fetch',
  entries: { configureRefreshFetch: "export { configureRefreshFetch } from 'refresh-fetch'" },
  inputs: everyInput,
  cannot: { proactive: reactsOnly, ahead: reactsOnly, contexts: 'no storage' },
  create(world) {
    const kept = keepTokens(world)
    const fetchWithToken = async (input: string | URL | Request, init?: RequestInit) => {
      const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined))
      headers.set('Authorization', `Bearer ${kept.accessToken}`)
      const response = await world.fetch(input, { ...init, headers })
      if (response.status === 401) throw response
      return response
    }
    const wrapped = configureRefreshFetch({
      fetch: fetchWithToken,
      shouldRefreshToken: (error: Response) => error.status === 401,
      refreshToken: () => kept.renew(),
    })
    return { fetch: wrapped }
  },
}
