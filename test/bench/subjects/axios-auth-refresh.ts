import { createAuthRefresh } from 'axios-auth-refresh'
import { clientOf, createAxios } from '../harness/axios-over-fetch.ts'
import { keepTokens, type Subject } from '../harness/subject.ts'

const reactsOnly = 'acts on a 401 only'

export const axiosAuthRefresh: Subject = {
  name: 'axios + axios-auth-refresh',
  package: 'axios-auth-refresh',
  entries: {
    'axios, createAuthRefresh':
      "export { default as axios } from 'axios'; export { createAuthRefresh } from 'axios-auth-refresh'",
  },
  inputs: ['url', 'url + init', 'URL'],
  readsBody: true,
  cannot: { proactive: reactsOnly, ahead: reactsOnly, contexts: 'no storage' },
  create(world) {
    const kept = keepTokens(world)
    const api = createAxios(world)
    const attach = (config: { headers: { set(name: string, value: string): unknown } }) => {
      config.headers.set('Authorization', `Bearer ${kept.accessToken}`)
      return config
    }
    api.interceptors.request.use(attach as never)
    createAuthRefresh(api, () => kept.renew(), { onRetry: attach as never })
    return clientOf(api)
  },
}
