import { QueryClient } from '@tanstack/query-core'
import { isSessionError } from 'latchkey'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const client = new QueryClient({
    defaultOptions: {
      queries: { retry: (count, error) => count < 3 && !(isSessionError(error) && !error.retryable) },
    },
  })
  const items = (page: number) => ({
    queryKey: ['items', page],
    queryFn: async ({ signal }: { signal: AbortSignal }) => {
      const response = await session.fetch(`${origin}/items?page=${page}`, { signal })
      if (!response.ok) throw response
      return response.json()
    },
  })
  // #endregion
  const send = (path: string, method: string, body: BodyInit) => ({
    mutationFn: async () => {
      const response = await session.fetch(`${origin}${path}`, { method, body })
      if (!response.ok) throw response
      return response.json()
    },
  })
  const mutate = (options: ReturnType<typeof send>) =>
    client.getMutationCache().build(client, options).execute(undefined)
  let page = 0
  return {
    get: () => client.fetchQuery(items(page++)),
    post: item => mutate(send('/items', 'POST', JSON.stringify(item))),
    upload: bytes => mutate(send('/upload', 'PUT', new Blob([bytes]))),
  }
}
