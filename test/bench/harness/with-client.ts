import { restoreClock } from './clock.ts'
import { createStubServer, type StubOptions, type StubServer } from './stub-server.ts'
import type { Client, Subject } from './subject.ts'

/** A client of the subject, signed in at a stub server, in a world where the global fetch is that server's too. */
export async function withClient<T>(
  subject: Subject,
  options: StubOptions,
  run: (client: Client, server: StubServer) => Promise<T>,
): Promise<T> {
  const server = createStubServer(options)
  return inWorldOf(subject, server.fetch, async () => {
    const { origin, tokenEndpoint, fetch } = server
    const obtainedAtMs = Date.now()
    const client = await subject.create({ origin, tokenEndpoint, fetch, tokens: server.signIn(), obtainedAtMs })
    // What the subject sent to get going is no part of a measurement.
    Object.assign(server.counts, { renewals: 0, tokenCalls: 0, sends: 0, refusals: 0 })
    try {
      return await run(client, server)
    } finally {
      client.close?.()
    }
  })
}

export async function inWorldOf<T>(
  subject: Subject,
  fetch: typeof globalThis.fetch,
  run: () => Promise<T>,
): Promise<T> {
  const platform = globalThis.fetch
  globalThis.fetch = fetch
  subject.enter?.()
  try {
    return await run()
  } finally {
    subject.leave?.()
    globalThis.fetch = platform
    restoreClock()
  }
}

/** 0 for a call that ends with a 200, else 1. */
export const failureOf = (call: Promise<{ readonly status: number }>): Promise<0 | 1> =>
  call.then(
    ({ status }) => (status === 200 ? 0 : 1),
    () => 1,
  )

export async function sumOf(counts: readonly Promise<number>[]): Promise<number> {
  let sum = 0
  for (const count of await Promise.all(counts)) sum += count
  return sum
}
