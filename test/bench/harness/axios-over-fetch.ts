import axios from 'axios'
import type { Client, World } from './subject.ts'

/** axios with its own fetch adapter on the world's fetch; it throws on a status that is no success. */
export function createAxios(world: World) {
  const env = { fetch: world.fetch, Request, Response: Response as never }
  return axios.create({ adapter: 'fetch', env, responseType: 'text' })
}

export const clientOf = (api: ReturnType<typeof createAxios>): Client => ({
  fetch(input, init) {
    const url = String(input)
    if (!init) return api.get(url)
    return api.request({
      url,
      method: init.method ?? 'GET',
      ...(init.headers && { headers: init.headers as Record<string, string> }),
      ...(init.body && { data: init.body }),
    })
  },
})
