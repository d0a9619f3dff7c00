import { configureStore } from '@reduxjs/toolkit'
import { createApi, fetchBaseQuery } from '@reduxjs/toolkit/query'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const api = createApi({
    baseQuery: fetchBaseQuery({ baseUrl: origin, fetchFn: session.fetch }),
    endpoints: build => ({
      items: build.query<{ id: number }[], number>({ query: page => `/items?page=${page}` }),
      add: build.mutation<{ id: number }, { marker: string }>({
        query: body => ({ url: '/items', method: 'POST', body }),
      }),
      upload: build.mutation<unknown, Blob>({ query: body => ({ url: '/upload', method: 'PUT', body }) }),
    }),
  })
  // #endregion
  const store = configureStore({
    reducer: { [api.reducerPath]: api.reducer },
    middleware: defaults => defaults({ serializableCheck: false }).concat(api.middleware),
  })
  let page = 0
  return {
    get: () => store.dispatch(api.endpoints.items.initiate(page++)),
    post: item => store.dispatch(api.endpoints.add.initiate(item)),
    upload: bytes => store.dispatch(api.endpoints.upload.initiate(new Blob([bytes]))),
    errorOf: result => (result as { error?: unknown }).error,
  }
}
