import axios from 'axios'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const api = axios.create({ baseURL: origin, adapter: 'fetch', env: { fetch: session.fetch } })
  // In Node axios sends a form under the name of another kind, whatever the fetch, unless it is told to leave that to the fetch.
  const upload = (form: FormData) => api.post('/upload', form, { headers: { 'Content-Type': null } })
  // #endregion
  return {
    get: () => api.get('/items').then(({ data }) => data),
    post: item => api.post('/items', item).then(({ data }) => data),
    upload: bytes => {
      const form = new FormData()
      form.append('file', new File([bytes], 'a.bin'))
      return upload(form)
    },
  }
}
