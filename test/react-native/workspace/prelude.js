// What React Native adds to Hermes, and nothing that it lacks: timers over a clock that the test owns, atob, XMLHttpRequest, a URL that
// normalises nothing. AbortController and fetch come from the packages that React Native uses, see app.js.
/* global print */
;(() => {
  const native = globalThis.setTimeout
  let now = 1_800_000_000_000
  let sequence = 0
  const timers = []
  Date.now = () => now

  function pump() {
    if (timers.length === 0) return
    timers.sort((one, other) => one.at - other.at || one.id - other.id)
    const { at, run } = timers.shift()
    now = Math.max(now, at)
    run()
    native(pump)
  }
  globalThis.setTimeout = (callback, ms = 0, ...args) => {
    const id = ++sequence
    if (timers.push({ id, at: now + ms, run: () => callback(...args) }) === 1) native(pump)
    return id
  }
  globalThis.clearTimeout = id => {
    const index = timers.findIndex(timer => timer.id === id)
    if (index >= 0) timers.splice(index, 1)
  }
  globalThis.sleepFor = ms => {
    now += ms
  }
  globalThis.console = { log: print, warn: print, error: print, assert() {} }
  globalThis.window = globalThis
  globalThis.self = globalThis
  globalThis.navigator = { product: 'ReactNative' }
  globalThis.performance = { now: () => now }

  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
  globalThis.atob = text => {
    let bits = ''
    for (const letter of text.replace(/=+$/, '')) bits += letters.indexOf(letter).toString(2).padStart(6, '0')
    return (bits.match(/.{8}/g) ?? []).map(byte => String.fromCharCode(Number.parseInt(byte, 2))).join('')
  }

  // React Native 0.88, Libraries/Blob/URL.js: keeps what it is given.
  globalThis.URL = class URL {
    constructor(url) {
      const [, protocol, host, pathname, search, hash] =
        /^(\w+:)\/\/([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?$/.exec(`${url}`) ?? []
      if (!protocol) throw new TypeError(`Invalid URL: ${url}`)
      Object.assign(this, {
        href: `${url}`,
        protocol,
        host,
        pathname: pathname || '/',
        search: search ?? '',
        hash: hash ?? '',
      })
      this.hostname = host.replace(/:\d+$/, '')
      this.port = /:(\d+)$/.exec(host)?.[1] ?? ''
      this.origin = `${protocol}//${host}`
      this.username = ''
      this.password = ''
    }
    toString() {
      return this.href
    }
  }

  globalThis.URLSearchParams = class URLSearchParams {
    constructor(init = {}) {
      const pairs = typeof init[Symbol.iterator] === 'function' ? [...init] : Object.entries(init)
      this.pairs = pairs.map(([name, value]) => [`${name}`, `${value}`])
    }
    append(name, value) {
      this.pairs.push([`${name}`, `${value}`])
    }
    set(name, value) {
      this.pairs = this.pairs.filter(([own]) => own !== name)
      this.append(name, value)
    }
    get(name) {
      return this.pairs.find(([own]) => own === name)?.[1] ?? null
    }
    has(name) {
      return this.get(name) !== null
    }
    forEach(callback) {
      for (const [name, value] of this.pairs) callback(value, name)
    }
    [Symbol.iterator]() {
      return this.pairs[Symbol.iterator]()
    }
    toString() {
      return this.pairs.map(pair => pair.map(encodeURIComponent).join('=')).join('&')
    }
  }
  globalThis.FormData = class FormData {}

  /** Calls globalThis.serve({ method, url, headers, body }), which gives { status, headers, body }, after 20 ms. */
  globalThis.XMLHttpRequest = class XMLHttpRequest {
    requestHeaders = {}
    status = 0
    open(method, url) {
      Object.assign(this, { method, url })
    }
    setRequestHeader(name, value) {
      this.requestHeaders[name.toLowerCase()] = value
    }
    send(body) {
      this.timer = setTimeout(() => {
        const answer = globalThis.serve({ method: this.method, url: this.url, headers: this.requestHeaders, body })
        if (!answer) return this.onerror()
        this.answer = answer
        Object.assign(this, { status: answer.status, readyState: 4, responseText: answer.body, responseURL: this.url })
        this.response = answer.body
        this.onload()
      }, 20)
    }
    abort() {
      clearTimeout(this.timer)
      this.onabort()
    }
    getAllResponseHeaders() {
      return Object.entries(this.answer.headers ?? {})
        .map(([name, value]) => `${name}: ${value}`)
        .join('\r\n')
    }
  }
})()
