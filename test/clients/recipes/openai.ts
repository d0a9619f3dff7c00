import OpenAI from 'openai'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const openai = new OpenAI({
    baseURL: `${origin}/v1`,
    fetch: session.fetch,
    apiKey: 'none', // it asks for one
    defaultHeaders: { Authorization: null }, // and would send it: a header of the caller's wins
  })
  // #endregion
  return {
    get: () => openai.models.list(),
    post: ({ marker }) =>
      openai.chat.completions.create({ model: 'a-model', messages: [{ role: 'user', content: marker }] }),
    upload: bytes => openai.files.create({ file: new File([bytes], 'a.bin'), purpose: 'assistants' }),
  }
}
