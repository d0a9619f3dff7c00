import { OAuth2Client, OAuth2Fetch } from '@badgateway/oauth2-client'
import { everyInput, type Subject } from '../harness/subject.ts'

/** Its fetch is `mw()` around the global fetch; `mw()` around the world's is the same work. */
export const badgateway: Subject = {
  name: '@badgateway/oauth2-client',
  package: '@badgateway/oauth2-client',
  entries: {
    'OAuth2Client, OAuth2Fetch': "export { OAuth2Client, OAuth2Fetch } from '@badgateway/oauth2-client'",
  },
  inputs: everyInput,
  cannot: { ahead: 'renews by a timer only', contexts: 'keeps its own copy of the tokens' },
  create({ tokenEndpoint, fetch, tokens, obtainedAtMs }) {
    const client = new OAuth2Client({ clientId: 'bench', tokenEndpoint, fetch: fetch as never })
    const wrapper = new OAuth2Fetch({
      client,
      scheduleRefresh: false,
      getNewToken: () => null,
      getStoredToken: () => ({
        accessToken: tokens.access_token,
        refreshToken: tokens.refresh_token,
        expiresAt: obtainedAtMs + tokens.expires_in * 1000,
      }),
    } as never)
    const send = wrapper.mw()
    return { fetch: async (input, init) => send(new Request(input, init), request => fetch(request)) }
  },
}
