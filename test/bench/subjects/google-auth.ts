import { OAuth2Client } from 'google-auth-library'
import { everyInput, type Subject } from '../harness/subject.ts'

export const googleAuth: Subject = {
  name: 'google-auth-library',
  package: 'google-auth-library',
  entries: { OAuth2Client: "export { OAuth2Client } from 'google-auth-library'" },
  inputs: everyInput,
  readsBody: true,
  cannot: { ahead: 'waits for a renewal', contexts: 'no storage' },
  create({ tokenEndpoint, fetch, tokens, obtainedAtMs }) {
    const client = new OAuth2Client({
      clientId: 'bench',
      clientSecret: 'secret',
      endpoints: { oauth2TokenUrl: tokenEndpoint },
      forceRefreshOnFailure: true,
      transporterOptions: { fetchImplementation: fetch as never },
    })
    client.setCredentials({
      access_token: tokens.access_token,
      refresh_token: tokens.refresh_token,
      expiry_date: obtainedAtMs + tokens.expires_in * 1000,
    })
    return {
      fetch: (input, init) => client.fetch(input, init),
    }
  },
}
