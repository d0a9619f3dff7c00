/**
 * Takes away what Hermes and React Native lack, and puts React Native's own in its place: whatwg-fetch over an XMLHttpRequest,
 * abort-controller, which keeps no reason. `Symbol.asyncIterator` can't be taken away, and the runner's spies need WeakRef: the static check
 * looks after these.
 */
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { createRequire } from 'node:module'
import { afterEach, beforeEach } from 'vitest'

const require = createRequire(new URL('./workspace/package.json', import.meta.url))
const { AbortController, AbortSignal } = require('abort-controller/dist/abort-controller')

/** React Native's: it follows redirects whatever it is told, with all headers on the same origin, and knows no streams. */
class XMLHttpRequest {
  responseType = ''
  status = 0
  readyState = 0
  response: unknown
  responseURL = ''
  onload?: () => void
  onerror?: () => void
  onabort?: () => void
  private method = 'GET'
  private readonly headers: Record<string, string> = {}
  private answer: IncomingMessage | undefined
  private request: ClientRequest | undefined
  private isAborted = false

  open(method: string, url: string): void {
    this.method = method
    this.responseURL = url
  }

  setRequestHeader(name: string, value: string): void {
    this.headers[name] = value
  }

  send(body?: string | ArrayBuffer | null): void {
    const failed = () => (this.isAborted ? undefined : this.onerror?.())
    const { method, headers, responseURL } = this
    this.request = httpRequest(responseURL, { method, headers, agent: false }, answer => {
      const { location } = answer.headers
      if (location && answer.statusCode && answer.statusCode < 400)
        return this.follow(answer.statusCode, location, body)
      const chunks: Buffer[] = []
      answer.on('data', chunk => chunks.push(chunk))
      answer.on('error', failed)
      answer.on('end', () => {
        const bytes = Buffer.concat(chunks)
        const response = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
        Object.assign(this, { answer, status: answer.statusCode, response, readyState: 4 })
        this.onload?.()
      })
    })
    this.request.on('error', failed)
    this.request.end(body ? Buffer.from(body as string) : undefined)
  }

  private follow(status: number, location: string, body: string | ArrayBuffer | null | undefined): void {
    const from = new URL(this.responseURL)
    const to = new URL(location, from)
    if (to.origin !== from.origin) delete this.headers.authorization
    this.responseURL = to.href
    const isGet = status === 303 || (status < 303 && this.method === 'POST')
    if (isGet) this.method = 'GET'
    this.send(isGet ? null : body)
  }

  abort(): void {
    this.isAborted = true
    this.request?.destroy()
    this.onabort?.()
  }

  getAllResponseHeaders(): string {
    return Object.entries(this.answer?.headers ?? {})
      .map(([name, value]) => `${name}: ${value}`)
      .join('\r\n')
  }
}

const lacking = [
  'DOMException',
  'structuredClone',
  'BroadcastChannel',
  'TextEncoder',
  'TextDecoder',
  'ReadableStream',
  'WritableStream',
  'TransformStream',
]
define('XMLHttpRequest', XMLHttpRequest)
define('AbortController', AbortController)
define('AbortSignal', AbortSignal)
const { fetch, Headers, Request, Response } = require('whatwg-fetch')
// For the tests' own servers; the sources use neither.
Response.json = (value: unknown, init: ResponseInit = {}) =>
  new Response(JSON.stringify(value), { ...init, headers: { 'content-type': 'application/json', ...init.headers } })
AbortSignal.abort = () => {
  const controller = new AbortController()
  controller.abort()
  return controller.signal
}
const own = { fetch, Headers, Request, Response, navigator: { product: 'ReactNative' }, crypto: undefined }
for (const [name, value] of Object.entries(own)) define(name, value)

// While a test runs: the runner itself needs some of them in between.
const taken = new Map<string, PropertyDescriptor>()
beforeEach(() => {
  for (const name of lacking) {
    const descriptor = Object.getOwnPropertyDescriptor(globalThis, name)
    if (descriptor) taken.set(name, descriptor)
    Reflect.deleteProperty(globalThis, name)
  }
})
afterEach(() => {
  for (const [name, descriptor] of taken) Object.defineProperty(globalThis, name, descriptor)
})

function define(name: string, value: unknown): void {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
}
