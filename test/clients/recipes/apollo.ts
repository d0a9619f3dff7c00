import { ApolloClient, gql, HttpLink, InMemoryCache } from '@apollo/client'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const client = new ApolloClient({
    link: new HttpLink({ uri: `${origin}/graphql`, fetch: session.fetch }),
    cache: new InMemoryCache(),
  })
  // #endregion
  const items = gql`query { items { id } }`
  const add = gql`mutation ($marker: String) { add(marker: $marker) { id marker } }`
  return {
    // A query of its own each time: Apollo would send equal ones once.
    get: () => client.query({ query: items, fetchPolicy: 'no-cache', context: { queryDeduplication: false } }),
    post: variables => client.mutate({ mutation: add, variables }),
  }
}
