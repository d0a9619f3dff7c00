import { PostgrestClient } from '@supabase/postgrest-js'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const database = new PostgrestClient(`${origin}/rest/v1`, { fetch: session.fetch })
  // #endregion
  return {
    get: async () => await database.from('items').select(),
    post: async item => await database.from('items').insert(item).select(),
    // PostgREST reads a `bytea` from JSON as hexadecimal digits.
    upload: async bytes => await database.from('files').insert({ content: `\\x${Buffer.from(bytes).toString('hex')}` }),
    uploadEncoding: 'hex',
    errorOf: result => (result as { error?: unknown }).error,
  }
}
