import { BlockList, isIP, SocketAddress } from 'node:net'
import { getConnInfo } from '@hono/node-server/conninfo'
import type { MiddlewareHandler } from 'hono'
import type { Env } from './environment.ts'

/** Sets `address`: the socket's or, behind a proxy that is trusted, the one that the proxy saw. */
export function clientAddress(trustProxy: boolean): MiddlewareHandler<Env> {
  return async (c, next) => {
    // The last entry is the proxy's own; those before it are whatever the caller wrote.
    const forwarded = trustProxy ? c.req.header('x-forwarded-for')?.split(',').at(-1)?.trim() : undefined
    c.set('address', normalAddress(forwarded ?? '') ?? normalAddress(getConnInfo(c).remote.address ?? '') ?? 'unknown')
    await next()
  }
}

/** One spelling per address: IPv6 in its short form, an IPv4 address in IPv6 clothes (`::ffff:127.0.0.1`) as IPv4. */
export function normalAddress(text: string): string | undefined {
  const [address = ''] = text.split('%') // without the zone of a link-local address
  if (isIP(address) === 0) return undefined
  if (isIP(address) === 4) return address
  const short = new SocketAddress({ address, family: 'ipv6' }).address
  return short.toLowerCase().startsWith('::ffff:') && short.includes('.') ? short.slice('::ffff:'.length) : short
}

/** An address, or a range like `10.0.0.0/8`, in its normal form; undefined when it is neither. */
export function normalRange(text: string): string | undefined {
  const [start = '', prefix, ...rest] = text.split('/')
  const address = normalAddress(start)
  if (!address || rest.length > 0) return undefined
  if (prefix === undefined) return address
  const bits = /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN
  return bits <= (isIP(address) === 4 ? 32 : 128) ? `${address}/${bits}` : undefined
}

/** Whether one of the ranges holds the address; no ranges at all mean anywhere. */
export function mayCallFrom(ranges: readonly string[], address: string): boolean {
  if (ranges.length === 0) return true
  if (isIP(address) === 0) return false
  const list = new BlockList()
  for (const range of ranges) {
    const [start = '', bits] = range.split('/')
    if (bits === undefined) list.addAddress(start, family(start))
    else list.addSubnet(start, Number(bits), family(start))
  }
  return list.check(address, family(address))
}

function family(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 4 ? 'ipv4' : 'ipv6'
}
