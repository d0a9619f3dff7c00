// Tests use loopback only: every other name is unknown here, also to a suite that asks for github.com.
const dns = require('node:dns')

const { lookup } = dns
dns.lookup = (hostname, options, callback) => {
  if (/^(localhost|127\.|::1$)/.test(hostname)) return lookup.call(dns, hostname, options, callback)
  const error = Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), {
    code: 'ENOTFOUND',
    errno: 'ENOTFOUND',
    syscall: 'getaddrinfo',
    hostname,
  })
  process.nextTick(typeof options === 'function' ? options : callback, error)
}
