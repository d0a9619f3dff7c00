import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { createOAuthProvider } from './provider.ts'

/** The page that signs in, and its authorization server. */
export interface OAuthDemo {
  readonly origin: string
  readonly issuer: string
  close(): Promise<void>
}

interface OAuthDemoOptions {
  /** @default 0: a free one */
  port?: number
  /** Where the modules `latchkey` and `latchkey/oauth` are. @default what `npm run build` made */
  sdk?: (entry: 'index' | 'oauth') => string
}

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))

export async function createOAuthDemo({
  port = 0,
  sdk = entry => path(`../../dist/${entry}.js`),
}: OAuthDemoOptions = {}): Promise<OAuthDemo> {
  const { outputFiles } = await build({
    entryPoints: [path('./page/main.ts')],
    bundle: true,
    format: 'esm',
    target: 'es2022',
    alias: { 'latchkey/oauth': sdk('oauth'), latchkey: sdk('index') },
    write: false,
    logLevel: 'error',
  })
  const files: Record<string, readonly [type: string, body: string]> = {
    '/main.js': ['text/javascript', outputFiles[0]?.text ?? ''],
    '/style.css': ['text/css', await readFile(path('../page/style.css'), 'utf8')],
  }
  const html = await readFile(path('./page/index.html'), 'utf8')
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', origin)
    const config = pathname === '/config.json' ? (['application/json', JSON.stringify({ issuer })] as const) : undefined
    const [type, body] = config ?? files[pathname] ?? ['text/html; charset=utf-8', html]
    response.writeHead(200, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(body)
  })
  await listen(server, port).catch(() => listen(server, 0))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const provider = await createOAuthProvider({
    allowedOrigins: [origin],
    ttl: { AccessToken: 10 },
    clients: [
      {
        client_id: 'page',
        token_endpoint_auth_method: 'none',
        redirect_uris: [`${origin}/callback`],
        post_logout_redirect_uris: [`${origin}/`],
        grant_types: ['authorization_code', 'refresh_token'],
        dpop_bound_access_tokens: true,
      },
    ],
  })
  const { issuer } = provider
  return {
    origin,
    issuer,
    async close() {
      server.closeAllConnections()
      server.close()
      await Promise.all([once(server, 'close'), provider.close()])
    },
  }
}

function listen(server: ReturnType<typeof createServer>, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject)
      resolve()
    })
  })
}
