import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createBodyServer } from '../runtimes/body-server.ts'
import { cases } from '../runtimes/matrix.ts'

let server: Awaited<ReturnType<typeof createBodyServer>>
beforeAll(async () => {
  server = await createBodyServer()
})
afterAll(() => server.close())

describe('11, 21: over real HTTP', () => {
  it.each(cases)('$name', async ({ run }) => {
    const outcome = await run({ origin: server.origin, fetch, Request, FormData, Readable })
    expect(outcome).toBe('passed') // Node can send all of them
  })
})
