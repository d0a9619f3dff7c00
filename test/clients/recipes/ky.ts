import ky from 'ky'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const api = ky.create({ prefix: origin, fetch: session.fetch })
  // #endregion
  return {
    get: () => api.get('items').json(),
    post: item => api.post('items', { json: item }).json(),
    upload: bytes => api.put('upload', { body: new Blob([bytes]) }).json(),
  }
}
