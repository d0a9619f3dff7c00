import axios from 'axios'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const api = axios.create({ baseURL: origin, adapter: 'fetch', env: { fetch: session.fetch } })
  // #endregion
  return {
    get: () => api.get('/items').then(({ data }) => data),
    post: item => api.post('/items', item).then(({ data }) => data),
    upload: bytes => {
      const form = new FormData()
      form.append('file', new File([bytes], 'a.bin'))
      return api.post('/upload', form)
    },
  }
}
