import { GraphQLClient } from 'graphql-request'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const client = new GraphQLClient(`${origin}/graphql`, {
    fetch: session.fetch,
    method: 'GET', // of queries; a mutation is a POST
  })
  // #endregion
  return {
    get: () => client.request('query { items { id } }'),
    post: item => client.request('mutation ($marker: String) { add(marker: $marker) { id } }', item),
    // It has no files: bytes are a variable.
    upload: bytes =>
      client.request('mutation ($file: String!) { upload(file: $file) { id } }', {
        file: Buffer.from(bytes).toString('base64'),
      }),
    uploadEncoding: 'base64',
  }
}
