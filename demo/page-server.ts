import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { serve } from '@hono/node-server'
import { build } from 'esbuild'
import { Hono } from 'hono'

export interface PageServer {
  readonly origin: string
  close(): Promise<void>
}

const file = (name: string) => new URL(`./page/${name}`, import.meta.url)

/** Serves the page on an origin of its own; it bundles what `npm run build` made, as an app's bundler would. */
interface PageOptions {
  /** @default 0: a free one */
  port?: number
  /** What the page asks for at /config.json. */
  config: () => object
  /** The module that the page imports as `latchkey`. @default what `npm run build` made */
  sdk?: string
}

const built = fileURLToPath(new URL('../dist/index.js', import.meta.url))

export async function createPageServer({ port = 0, config, sdk = built }: PageOptions): Promise<PageServer> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(file('main.ts'))],
    bundle: true,
    format: 'esm',
    target: 'es2022',
    alias: { latchkey: sdk },
    write: false,
  })
  const script = outputFiles[0]?.text ?? ''
  const app = new Hono()
  app.get('/', async c => c.html(await readFile(file('index.html'), 'utf8')))
  app.get('/style.css', async c =>
    c.body(await readFile(file('style.css'), 'utf8'), 200, { 'content-type': 'text/css' }),
  )
  app.get('/main.js', c => c.body(script, 200, { 'content-type': 'text/javascript' }))
  app.get('/config.json', c => c.json(config()))
  const listen = (at: number) =>
    new Promise<{ server: ReturnType<typeof serve>; port: number }>((resolve, reject) => {
      const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: at }, info =>
        resolve({ server, port: info.port }),
      )
      server.once('error', reject)
    })
  const { server, port: bound } = await listen(port).catch(() => listen(0))
  return {
    origin: `http://127.0.0.1:${bound}`,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        if ('closeAllConnections' in server) server.closeAllConnections()
      }),
  }
}
