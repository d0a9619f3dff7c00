import kyDefault, { type KyInstance } from 'ky'
import { everyInput, keepTokens, type Subject } from '../harness/subject.ts'

/** ky with hooks that share one renewal, as its users write them. */
export const ky: Subject = {
  name: 'ky + hooks',
  package: 'ky',
  entries: { ky: "export { default as ky } from 'ky'" },
  inputs: everyInput,
  readsBody: true,
  cannot: { ahead: 'its hooks wait for a renewal', contexts: 'no storage' },
  create(world) {
    const kept = keepTokens(world)
    let renewing: Promise<void> | undefined
    const renew = () => {
      renewing ??= kept.renew().finally(() => {
        renewing = undefined
      })
      return renewing
    }
    const api: KyInstance = kyDefault.create({
      fetch: world.fetch,
      throwHttpErrors: false,
      retry: { limit: 1, statusCodes: [] },
      timeout: false,
      hooks: {
        beforeRequest: [
          async ({ request }: { request: Request }) => {
            if (Date.now() >= kept.expiresAtMs) await renew()
            request.headers.set('Authorization', `Bearer ${kept.accessToken}`)
          },
        ],
        afterResponse: [
          async ({ request, response, retryCount }: { request: Request; response: Response; retryCount: number }) => {
            if (response.status !== 401 || retryCount > 0) return
            await renew()
            const headers = new Headers(request.headers)
            headers.set('Authorization', `Bearer ${kept.accessToken}`)
            return kyDefault.retry({ request: new Request(request, { headers }) })
          },
        ],
      },
    })
    return { fetch: async (input, init) => api(input, init as object) }
  },
}
