import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { SessionError } from '../values/errors.ts'
import type { Opener } from './open.ts'

export interface LoopbackOptions {
  /** Shows the URL to the user. @default the system's browser, by the package `open` */
  openBrowser?: (url: string) => unknown
  /** How long the user may take, in milliseconds. @default 300_000 */
  timeoutMs?: number
}

const page = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Signed in</title>
<style>body { font: 1.2rem/1.5 system-ui, sans-serif; text-align: center; margin-top: 20vh }</style>
<p>You may close this page and go back to the program.</p></html>`

const loopbackUri = /^http:\/\/(127\.0\.0\.1|localhost)(:\d+)?([/?]|$)/

/**
 * Signs in with the user's own browser, for programs (RFC 8252 §7.3): listens on 127.0.0.1, on a free port unless the `redirectUri` names
 * one. Ctrl-C and a time-out are `sign_in_cancelled`, a taken port or a browser that does not open `sign_in_failed`, a redirect URI that
 * is not on 127.0.0.1 or localhost `misconfigured`; the port is gone however it ends.
 */
export function loopback({ openBrowser = openSystemBrowser, timeoutMs = 300_000 }: LoopbackOptions = {}): Opener {
  return {
    async prepare({ redirectUri = 'http://127.0.0.1/callback' }) {
      if (!loopbackUri.test(redirectUri)) {
        throw new SessionError(
          'misconfigured',
          "loopback() listens on 127.0.0.1 alone. Write redirectUri: 'http://127.0.0.1/callback', with a port only if the server wants one.",
        )
      }
      const wanted = new URL(redirectUri)
      let onAnswer: ((query: string) => boolean) | undefined
      let lastPage: ServerResponse | undefined
      const server = createServer((request, response) => {
        // Not by URL, which throws at some paths: anybody on this machine may send what they like.
        const [path = '', query = ''] = request.url?.split(/\?(.*)/s) ?? []
        const isAnswer = request.method === 'GET' && path === wanted.pathname && onAnswer?.(query) === true
        if (isAnswer) lastPage = response
        response.writeHead(isAnswer ? 200 : 404, {
          'Content-Type': 'text/html; charset=utf-8',
          'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'",
          'Cache-Control': 'no-store',
          'Referrer-Policy': 'no-referrer',
          Connection: 'close',
        })
        response.end(isAnswer ? page : '')
      })
      server.listen(Number(wanted.port), '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      // Not by `wanted.port`, which writes 80 as nothing.
      const own = redirectUri.replace(/^(http:\/\/[^/:?#]+)(:\d*)?/, `$1:${port}`)
      let stop = () => {}
      return {
        redirectUri: own,
        go: (url, state) =>
          new Promise((resolve, reject) => {
            const cancel = (message: string) => reject(new SessionError('sign_in_cancelled', message))
            const timer = setTimeout(() => cancel(`Nobody signed in within ${timeoutMs} ms.`), timeoutMs)
            const onInterrupt = () => cancel('Interrupted.')
            process.once('SIGINT', onInterrupt)
            stop = () => {
              clearTimeout(timer)
              process.off('SIGINT', onInterrupt)
            }
            onAnswer = query => {
              const fields = new URLSearchParams(query)
              // What is no answer to this sign-in is nobody's business here: whoever sent it can't end it.
              if (fields.get('state') !== state) return false
              if (!fields.has('code') && !fields.has('error')) return false
              resolve(`${own.replace(/\?.*/, '')}?${query}`)
              return true
            }
            Promise.resolve()
              .then(() => openBrowser(url))
              .catch(reject)
          }),
        close() {
          stop()
          onAnswer = undefined
          server.close()
          // Browsers open connections ahead and keep them: they would hold the program after its sign-in.
          const leave = () => server.closeAllConnections()
          if (lastPage && !lastPage.writableFinished) lastPage.once('close', leave)
          else leave()
        },
      }
    },
  }
}

async function openSystemBrowser(url: string): Promise<void> {
  let open: typeof import('open')
  try {
    open = await import('open')
  } catch {
    throw new SessionError(
      'misconfigured',
      'loopback() opens the browser by the package open, and it is missing: npm install open. Or pass openBrowser: url => console.log(url).',
    )
  }
  await open.default(url)
}
