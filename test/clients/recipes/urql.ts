import { Client, fetchExchange } from '@urql/core'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const client = new Client({
    url: `${origin}/graphql`,
    exchanges: [fetchExchange],
    fetch: session.fetch,
  })
  // #endregion
  const options = { requestPolicy: 'network-only' } as const
  let page = 0
  return {
    // A query of its own each time: urql sends equal ones once.
    get: () => client.query('query ($page: Int) { items(page: $page) { id } }', { page: page++ }, options).toPromise(),
    post: item => client.mutation('mutation ($marker: String) { add(marker: $marker) { id } }', item).toPromise(),
    upload: bytes =>
      client
        .mutation('mutation ($file: Upload!) { upload(file: $file) { id } }', { file: new File([bytes], 'a.bin') })
        .toPromise(),
    errorOf: result => (result as { error?: unknown }).error,
  }
}
