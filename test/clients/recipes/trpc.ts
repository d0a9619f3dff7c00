import { createTRPCClient, httpLink } from '@trpc/client'
import type { Driven, Fetching } from '../recipe.ts'
import type { Router } from '../server.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const client = createTRPCClient<Router>({
    links: [httpLink({ url: `${origin}/trpc`, fetch: session.fetch })],
  })
  // #endregion
  return {
    get: () => client.list.query(),
    post: item => client.add.mutate(item),
    upload: bytes => client.upload.mutate(new Blob([bytes]) as never),
  }
}
