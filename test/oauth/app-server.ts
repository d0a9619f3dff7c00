import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/** An app in a browser: one page, at / and at its redirect URI, configured by its query. */
export interface AppServer {
  readonly origin: string
  issuer: string
  /** Headers of the page. */
  headers: Record<string, string>
  close(): Promise<void>
}

const page = (
  issuer: string,
) => `<!doctype html><meta charset="utf-8"><title>app</title><p>The app</p><script type="module">
  import { createSession, webStorage, authorizationCode, redirect, popup, silent, dpop } from '/latchkey.js'
  const query = sessionStorage.getItem('query') ?? location.search
  sessionStorage.setItem('query', query)
  const how = new URLSearchParams(query)
  const timeoutMs = Number(how.get('timeout') ?? 60_000)
  const opens = { redirect, popup: () => popup({ timeoutMs }), silent: () => silent({ timeoutMs }) }
  const create = (extra = {}) => createSession({
    resources: '${issuer}', name: 'app', storage: webStorage(how.get('storage') ?? 'session'),
    grant: authorizationCode({
      issuer: '${issuer}', clientId: 'spa', scope: how.get('scope') ?? 'openid offline_access',
      redirectUri: location.origin + '/callback', open: opens[how.get('open') ?? 'redirect'](), ...extra,
    }),
    ...(how.has('dpop') && { attach: dpop() }),
  })
  const told = promise => promise.then(
    value => ({ value }),
    error => ({ code: error.code, cause: error.cause?.code ?? error.cause?.message }),
  )
  Object.assign(globalThis, { create, told, session: create(), issuer: '${issuer}' })
  globalThis.signIn = input => { globalThis.signingIn = told(session.signIn(input)); return signingIn }
  if (location.pathname === '/callback') {
    const calls = [session.completeSignIn()]
    if (how.has('strict')) calls.push((how.get('strict') === 'remount' ? create() : session).completeSignIn())
    globalThis.completed = Promise.all(calls.map(told))
  }
  document.body.onclick = () => signIn()
  document.title = 'ready'
</script>`

export async function createAppServer(): Promise<AppServer> {
  const source = (entry: string) => JSON.stringify(fileURLToPath(new URL(`../../src/${entry}.ts`, import.meta.url)))
  const { outputFiles } = await build({
    stdin: {
      contents: `export * from ${source('index')}; export * from ${source('oauth')}`,
      resolveDir: fileURLToPath(new URL('.', import.meta.url)),
    },
    bundle: true,
    format: 'esm',
    write: false,
  })
  const script = outputFiles[0]?.text ?? ''
  const server = createServer((request, response) => {
    const isScript = request.url === '/latchkey.js'
    response.writeHead(200, { 'Content-Type': isScript ? 'text/javascript' : 'text/html', ...self.headers })
    response.end(isScript ? script : page(self.issuer))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const self: AppServer = {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    issuer: '',
    headers: {},
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  return self
}
