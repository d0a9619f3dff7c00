import { Client, fetchExchange } from '@urql/core'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const client = new Client({
    url: `${origin}/graphql`,
    exchanges: [fetchExchange],
    fetch: session.fetch,
    preferGetMethod: false,
  })
  // #endregion
  const options = { requestPolicy: 'network-only' } as const
  return {
    get: () => client.query('query { items { id } }', {}, options).toPromise(),
    post: item => client.mutation('mutation ($marker: String) { add(marker: $marker) { id } }', item).toPromise(),
    errorOf: result => (result as { error?: unknown }).error,
  }
}
