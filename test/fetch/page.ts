import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/** Latchkey as a page loads it. */
export async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('../../src/index.ts', import.meta.url))],
    bundle: true,
    format: 'esm',
    write: false,
  })
  return outputFiles[0]?.text ?? ''
}

/** A page that holds it as `latchkey`, whatever its <base> says. */
export const html = (origin: string, base = '') =>
  `<!doctype html>${base}<title>page</title>` +
  `<script type="module">import * as latchkey from '${origin}/latchkey.js'; globalThis.latchkey = latchkey</script>`

declare global {
  /** In the page only. */
  var latchkey: typeof import('../../src/index.ts')
}
