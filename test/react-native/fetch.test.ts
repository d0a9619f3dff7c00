import { expect, it, vi } from 'vitest'
import { memoryStorage } from '../../src/index.ts'
import { secret } from '../support/no-leaks.ts'
import { createApp } from './app.ts'

const url = 'https://api.example.com/things'

/** A Response as whatwg-fetch 3.6.20 gives it: no `body`, no `redirected`; `url` is where it ended. */
function answer(status: number, at: string): Response {
  const response = new Response('text', { status })
  Object.defineProperties(response, {
    body: { get: () => undefined },
    redirected: { get: () => undefined },
    url: { value: at },
  })
  vi.spyOn(response, 'clone')
  return response
}

it('36 where the platform follows a redirect and drops Authorization (iOS), it costs one renewal and no loop, and the 401 is the answer', async () => {
  const storage = memoryStorage()
  const sent: (string | undefined)[] = []
  // react-native issue 34627: NSURLSession follows, and the header is gone.
  const dropping = async (_input: unknown, init: RequestInit = {}) => {
    sent.push(Object.fromEntries(new Headers(init.headers)).authorization)
    return answer(401, `${url}/`)
  }
  const app = createApp(() => storage, { fetch: dropping as typeof fetch, renewal: {} })
  const session = app.start()
  await session.adopt(
    { access_token: secret('a'), refresh_token: secret('refresh-0'), expires_in: 3600 },
    { obtainedAtMs: Date.now() - 60_000 },
  )
  const responses = await Promise.all(Array.from({ length: 5 }, () => session.fetch(url)))
  expect(responses.map(({ status }) => status)).toEqual([401, 401, 401, 401, 401])
  expect(app.server.renewals).toBe(1)
  expect((await session.fetch(url)).status).toBe(401)
  expect(app.server.renewals).toBe(1)
  expect(sent.length).toBeLessThanOrEqual(11)
})

it('50 a 401 that comes back is unread, and nothing was cloned or streamed on the way', async () => {
  const storage = memoryStorage()
  const responses: Response[] = []
  const refusing = async () => {
    const response = answer(401, url)
    responses.push(response)
    return response
  }
  const session = createApp(() => storage, { fetch: refusing as unknown as typeof fetch }).start()
  await session.signIn('user')
  const response = await session.fetch(url)
  expect(response.status).toBe(401)
  expect(response.bodyUsed).toBe(false)
  expect(await response.text()).toBe('text')
  for (const each of responses) expect(each.clone).not.toHaveBeenCalled()
})

it('50 a Request whose body can not be seen is sent again with it after a 401', async () => {
  const storage = memoryStorage()
  const bodies: string[] = []
  const app = createApp(() => storage, {
    async fetch(input: RequestInfo | URL) {
      const request = input as Request
      bodies.push(await request.text())
      return answer(bodies.length > 1 ? 200 : 401, url)
    },
  })
  const session = app.start()
  await session.signIn('user')
  class Hidden extends Request {
    override get body(): null {
      return undefined as unknown as null
    }
  }
  Object.defineProperty(Hidden, 'name', { value: 'Request' })
  const response = await session.fetch(new Hidden(url, { method: 'POST', body: 'payload' }))
  expect(response.status).toBe(200)
  expect(bodies).toEqual(['payload', 'payload'])
})

it('22 an abort without a reason rejects with an Error named AbortError', async () => {
  const storage = memoryStorage()
  const hanging = () => new Promise<Response>(() => undefined)
  const session = createApp(() => storage, { fetch: hanging as typeof fetch }).start()
  await session.signIn('user')
  // abort-controller 3: no `reason`, no `throwIfAborted`.
  const signal = { aborted: true, addEventListener: () => undefined, removeEventListener: () => undefined }
  const gone = { signal: signal as unknown as AbortSignal }
  await expect(session.renew(gone)).rejects.toMatchObject({ name: 'AbortError' })
  await expect(session.getAccessToken({ ...gone, minValidityMs: 1e9 })).rejects.toMatchObject({ name: 'AbortError' })
})
