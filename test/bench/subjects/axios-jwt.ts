import { applyAuthTokenInterceptor } from 'axios-jwt'
import { clientOf, createAxios } from '../harness/axios-over-fetch.ts'
import { requestTokens, type Subject, type World } from '../harness/subject.ts'

const key = `auth-tokens-${process.env.NODE_ENV}`

/** Its state is the module's, so its worlds come one after the other. */
export const axiosJwt: Subject = {
  name: 'axios + axios-jwt',
  package: 'axios-jwt',
  entries: {
    'axios, applyAuthTokenInterceptor':
      "export { default as axios } from 'axios'; export { applyAuthTokenInterceptor } from 'axios-jwt'",
  },
  inputs: ['url', 'url + init', 'URL'],
  readsBody: true,
  cannot: {
    reactive: 'no 401 handling',
    ahead: 'waits for a renewal',
    contexts: 'one state per process',
    scale: 'one state per process',
  },
  create(world: World) {
    const items = new Map([
      [key, JSON.stringify({ accessToken: world.tokens.access_token, refreshToken: world.tokens.refresh_token })],
    ])
    const api = createAxios(world)
    applyAuthTokenInterceptor(api as never, {
      requestRefresh: async (refreshToken: string) => {
        const next = await requestTokens(world, refreshToken)
        return { accessToken: next.access_token, refreshToken: next.refresh_token }
      },
      getStorage: () => ({
        get: async (name: string) => items.get(name) ?? null,
        set: async (name: string, value: string) => void items.set(name, value),
        remove: async (name: string) => void items.delete(name),
      }),
    })
    return clientOf(api)
  },
}
