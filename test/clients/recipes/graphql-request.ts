import { GraphQLClient } from 'graphql-request'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const client = new GraphQLClient(`${origin}/graphql`, { fetch: session.fetch })
  // #endregion
  return {
    get: () => client.request('query { items { id } }'),
    post: item => client.request('mutation ($marker: String) { add(marker: $marker) { id } }', item),
  }
}
