import {
  bearerTokenAuthenticationPolicy,
  createEmptyPipeline,
  createHttpHeaders,
  createPipelineRequest,
} from '@azure/core-rest-pipeline'
import { keepTokens, type Subject } from '../harness/subject.ts'

interface PipelineRequest {
  url: string
  method: string
  headers: Iterable<[string, string]>
  body?: unknown
}

/** The bearer policy alone, on a client over fetch as its browser build has one. It insists on https, so a loopback address is written so and sent as http. */
export const azure: Subject = {
  name: '@azure/core-rest-pipeline',
  package: '@azure/core-rest-pipeline',
  entries: {
    'bearerTokenAuthenticationPolicy, pipeline':
      "export { bearerTokenAuthenticationPolicy, createEmptyPipeline, createPipelineRequest, createDefaultHttpClient } from '@azure/core-rest-pipeline'",
  },
  inputs: ['url', 'url + init', 'URL'],
  cannot: { reactive: 'acts on a 401 with a claims challenge only', contexts: 'no storage' },
  async create(world) {
    const kept = keepTokens(world)
    let isFirst = true
    const isLoopback = world.origin.startsWith('http:')
    const pipeline = createEmptyPipeline()
    pipeline.addPolicy(
      bearerTokenAuthenticationPolicy({
        scopes: 'api',
        credential: {
          getToken: async () => {
            // The first one asked for is the one at hand.
            if (!isFirst) await kept.renew()
            isFirst = false
            return { token: kept.accessToken, expiresOnTimestamp: kept.expiresAtMs }
          },
        },
      }),
    )
    const httpClient = {
      async sendRequest(request: PipelineRequest) {
        const headers = new Headers()
        for (const [name, value] of request.headers) headers.append(name, value)
        const url = isLoopback ? request.url.replace('https:', 'http:') : request.url
        const response = await world.fetch(url, {
          method: request.method,
          headers,
          ...(request.body !== undefined && { body: request.body as string }),
        })
        const answered = createHttpHeaders()
        for (const [name, value] of response.headers) answered.set(name, value)
        return { request, headers: answered, status: response.status, text: () => response.text() }
      },
    }
    const fetch = (input: string | URL | Request, init?: RequestInit) => {
      const url = String(input)
      return pipeline.sendRequest(
        httpClient as never,
        createPipelineRequest({
          url: isLoopback ? url.replace('http:', 'https:') : url,
          method: (init?.method ?? 'GET') as 'GET',
          ...(init?.headers && { headers: createHttpHeaders(init.headers as Record<string, string>) }),
          ...(init?.body && { body: init.body as string }),
        }),
      )
    }
    // Its cycler asks for a token even where there is one.
    await fetch(`${world.origin}/first`)
    return { fetch }
  },
}
