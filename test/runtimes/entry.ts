import { cases, type Host, runMatrix } from './matrix.ts'

/** What runs inside each runtime, bundled: `entry.mjs <origin> [<path of an undici>]`; a browser calls `runInPage`. */
export async function runInPage(origin: string, polyfill?: string): Promise<string> {
  const own = polyfill ? ((await import(/* @vite-ignore */ polyfill)) as Host) : globalThis
  // As React Native does: its polyfill is the global.
  if (polyfill)
    Object.assign(globalThis, {
      fetch: own.fetch,
      Request: own.Request,
      Headers: (own as never as typeof globalThis).Headers,
    })
  const fetch = polyfill ? own.fetch : globalThis.fetch.bind(globalThis)
  return JSON.stringify(await runMatrix({ origin, fetch, Request: own.Request, FormData: globalThis.FormData }))
}

async function runHere(origin: string, undici: string | undefined): Promise<void> {
  const { Readable } = (await import('node:stream')) as never as { Readable: Host['Readable'] }
  let own: Pick<Host, 'fetch' | 'Request' | 'FormData'> = globalThis
  if (undici) {
    const module = await import(undici)
    own = (module.default ?? module) as typeof own
  }
  const { fetch, Request, FormData } = own
  const results = await runMatrix({ origin, fetch, Request, FormData, ...(Readable && { Readable }) })
  console.log(`results ${JSON.stringify(results)}`)
}

const { process } = globalThis as { process?: { argv: string[]; exit(code: number): void } }
const [, , origin, undici] = process?.argv ?? []
if (origin?.startsWith('http://') && !('document' in globalThis)) {
  await runHere(origin, undici)
  process?.exit(cases.length ? 0 : 1)
}
