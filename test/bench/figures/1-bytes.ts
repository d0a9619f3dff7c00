import { builtinModules } from 'node:module'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { type Figure, notAble, type Row } from '../harness/figure.ts'

const columns = ['minified', 'gzip', 'brotli']
const here = fileURLToPath(new URL('..', import.meta.url))
const kB = (bytes: number) => `${(bytes / 1000).toFixed(1)} kB`

/** What an app pays for the smallest realistic import, as its bundler makes it for a browser. */
export const bytes: Figure = {
  number: 1,
  title: 'Bytes',
  async run({ subjects }) {
    const rows: Row[] = []
    for (const subject of subjects) {
      const unable = notAble(subject, 'bytes', columns.length)
      if (unable) rows.push(unable)
      for (const [names, source] of Object.entries(subject.entries ?? {})) {
        const size = await weigh(source)
        rows.push({
          subject: `${subject.name}: ${names}`,
          cells: [size.minified, size.gzip, size.brotli].map(kB),
          data: size,
        })
      }
    }
    return [
      {
        title: 'The smallest realistic import',
        note: 'Bundled and minified by esbuild for ES2022 and a browser; gzip at level 9. Without the glue that the app writes around it: a shared promise for ky, the token calls of axios and of the Azure pipeline.',
        columns,
        rows,
      },
    ]
  },
}

async function weigh(contents: string): Promise<{ minified: number; gzip: number; brotli: number }> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: here, loader: 'ts' },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    define: { 'process.env.NODE_ENV': '"production"' },
    // What is for Node only is not paid for in a browser.
    external: [...builtinModules, 'node:*'],
    write: false,
    logLevel: 'error',
  })
  const code = outputFiles[0]?.contents
  if (!code) throw new Error('esbuild gave no bundle')
  return {
    minified: code.length,
    gzip: gzipSync(code, { level: 9 }).length,
    brotli: brotliCompressSync(code).length,
  }
}
