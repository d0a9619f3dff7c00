import createClient from 'openapi-fetch'
import type { paths } from '../generated/demo.ts'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const api = createClient<paths>({ baseUrl: origin, fetch: session.fetch })
  // #endregion
  return {
    get: () => api.GET('/collect').then(({ data }) => data),
    post: item => api.POST('/collect', { body: item as never }).then(({ data }) => data),
    upload: bytes =>
      api.POST('/collect', {
        body: bytes as never,
        bodySerializer: body => new Blob([body as never]) as never,
        headers: { 'Content-Type': 'application/octet-stream' },
      }),
  }
}
