import wretch from 'wretch'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const api = wretch(origin).fetchPolyfill(session.fetch)
  // #endregion
  return {
    get: () => api.url('/items').get().json(),
    post: item => api.url('/items').post(item).json(),
    upload: bytes =>
      api
        .url('/upload')
        .body(new Blob([bytes]))
        .put()
        .json(),
  }
}
