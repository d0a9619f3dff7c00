import { createFetch } from 'ofetch'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const api = createFetch({ fetch: session.fetch, defaults: { baseURL: origin } })
  // #endregion
  return {
    get: () => api('/items'),
    post: item => api('/items', { method: 'POST', body: item }),
    upload: bytes => api('/upload', { method: 'PUT', body: new Blob([bytes]) }),
  }
}
