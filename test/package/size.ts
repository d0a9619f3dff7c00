import { fileURLToPath } from 'node:url'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { build } from 'esbuild'

/** What an app pays for an import from an entry: the bytes that its users download, bundled, minified and compressed. */
export interface Size {
  entry: string
  names: string
  minified: number
  gzip: number
  brotli: number
  /** What each source or package put into the minified bundle, the biggest first. */
  parts: { from: string; bytes: number }[]
}

/**
 * The imports that have a budget, in bytes after gzip: of each entry the smallest that does its work. `gzip` bounds
 * what it costs today: raise it only with a reason in the commit. Where there is a `goal`, it is not reached yet, and `npm run size` says by how much.
 */
export const budgets: readonly { entry: string; names: string; gzip: number; goal?: number }[] = [
  { entry: 'latchkey', names: 'createSession', gzip: 21_100, goal: 6_500 },
  { entry: 'latchkey', names: 'createSession, passwordGrant', gzip: 30_800, goal: 15_500 },
  { entry: 'latchkey/oauth', names: 'authorizationCode, redirect', gzip: 12_490 },
  { entry: 'latchkey/react-native', names: 'expoSecureStore, appState, netInfo', gzip: 3_510 },
  { entry: 'latchkey/node', names: 'fileStorage', gzip: 3_510 },
  { entry: 'latchkey/redis', names: 'redisStorage', gzip: 5_600 },
]

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Bundles the import from the sources, as an app's bundler would from the package, and weighs the result. */
export async function sizeOf(names: string, entry = 'latchkey'): Promise<Size> {
  const { metafile, outputFiles } = await build({
    stdin: { contents: `export { ${names} } from '${sourceOf(entry)}'`, resolveDir: root },
    external: ['node:*', 'open', '@napi-rs/keyring'],
    absWorkingDir: root,
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022', // what bundlers target by default today
    metafile: true,
    write: false,
  })
  const [bundle] = outputFiles
  const [output] = Object.values(metafile.outputs)
  if (!bundle || !output) throw new Error('esbuild gave no bundle')
  return {
    entry,
    names,
    minified: bundle.contents.length,
    gzip: gzipSync(bundle.contents, { level: 9 }).length,
    brotli: brotliCompressSync(bundle.contents).length,
    parts: partsOf(output.inputs),
  }
}

const sourceOf = (entry: string) => `./src/${entry.split('/')[1] ?? 'index'}.ts`

/** The report that `npm run size` prints. */
export function report(size: Size, budget?: number): string {
  const limit =
    budget === undefined || budget === Number.POSITIVE_INFINITY
      ? ''
      : ` of ${kB(budget)} (${Math.round((size.gzip / budget) * 100)} %)`
  const head = `${size.entry} { ${size.names} }: ${kB(size.gzip)} gzip${limit}, ${kB(size.brotli)} brotli, ${kB(size.minified)} minified`
  return [head, ...size.parts.map(({ from, bytes }) => `${String(bytes).padStart(8)}  ${from}`)].join('\n')
}

/** Sources by file, packages by name. */
function partsOf(inputs: Record<string, { bytesInOutput: number }>): Size['parts'] {
  const bytes = new Map<string, number>()
  for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
    const from = path.match(/.*node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1] ?? path
    if (bytesInOutput > 0) bytes.set(from, (bytes.get(from) ?? 0) + bytesInOutput)
  }
  return [...bytes].map(([from, bytes]) => ({ from, bytes })).sort((a, b) => b.bytes - a.bytes)
}

function kB(bytes: number): string {
  return `${(bytes / 1000).toFixed(2)} kB`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const asked = process.argv.slice(2).join(', ')
  const imports: typeof budgets = asked
    ? [{ entry: 'latchkey', names: asked, gzip: Number.POSITIVE_INFINITY }]
    : budgets
  for (const { entry, names, gzip, goal = gzip } of imports) {
    const size = await sizeOf(names, entry)
    console.log(`${report(size, goal)}\n`)
    if (size.gzip > gzip) process.exitCode = 1
  }
}
