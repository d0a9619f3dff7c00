import { ApolloClient, gql, HttpLink, InMemoryCache } from '@apollo/client'
import UploadHttpLink from 'apollo-upload-client/UploadHttpLink.mjs'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const options = { uri: `${origin}/graphql`, fetch: session.fetch, useGETForQueries: true }
  const client = new ApolloClient({ link: new HttpLink(options), cache: new InMemoryCache() })
  // Files go by the package apollo-upload-client.
  const uploading = new ApolloClient({ link: new UploadHttpLink(options), cache: new InMemoryCache() })
  // #endregion
  const items = gql`query { items { id } }`
  const add = gql`mutation ($marker: String) { add(marker: $marker) { id marker } }`
  const attach = gql`mutation ($file: Upload!) { upload(file: $file) { id } }`
  return {
    // A query of its own each time: Apollo would send equal ones once.
    get: () => client.query({ query: items, fetchPolicy: 'no-cache', context: { queryDeduplication: false } }),
    post: variables => client.mutate({ mutation: add, variables }),
    upload: bytes => uploading.mutate({ mutation: attach, variables: { file: new File([bytes], 'a.bin') } }),
  }
}
