import type { Attach, AttachRequest } from '../ports/attach.ts'
import type { TokenBinding } from '../ports/dpop.ts'
import type { Grant } from '../ports/grant.ts'
import { tokenChallenge } from '../values/challenge.ts'
import { isSessionError, SessionError } from '../values/errors.ts'
import { randomId } from '../values/record.ts'
import { within } from '../values/timers.ts'
import { type DpopKeys, defaultDpopKeys } from './dpop-keys.ts'
import { tieToKey } from './tied-to-key.ts'

export interface DpopOptions {
  /** Where the key pair lives. @default IndexedDB in a document or worker, else in memory */
  keys?: DpopKeys
  /** Makes and uses the keys. @default globalThis.crypto.subtle */
  crypto?: SubtleCrypto
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
const mostOrigins = 100
const keyTimeoutMs = 10_000

/**
 * Binds tokens to a key that no script can read (RFC 9449): a stolen token is useless. Proofs (ES256) go to the token endpoint and to the
 * resources, with the nonce that the origin gave last. A server that wants another nonce gets the request once more; that is no renewal.
 * Tokens that are not of the type DPoP are sent as bearers: a sign-in that asked for bound ones does not take them.
 * Where the keys can't be had for the moment, or within 10 s, calls reject `storage_unavailable` and the session stays.
 * @throws SessionError `misconfigured` where there is no WebCrypto
 */
export function dpop({
  keys = defaultDpopKeys(),
  crypto: subtle = globalThis.crypto?.subtle,
}: DpopOptions = {}): Attach & TokenBinding {
  if (!subtle) {
    throw new SessionError(
      'misconfigured',
      'dpop() needs WebCrypto, and crypto.subtle is missing here. Browsers have it on https and localhost only; elsewhere pass crypto, for example of a polyfill.',
    )
  }
  const nonces = new Map<string, string>()
  let key: Promise<Key> | undefined

  /** One pair for all; a store that failed is asked again. */
  function keyOf(): Promise<Key> {
    key ??= (within(open(keys, subtle), keyTimeoutMs, tooLate) as Promise<Key>).catch(cause => {
      key = undefined
      if (isSessionError(cause)) throw cause
      throw new SessionError('storage_unavailable', 'The DPoP key can not be had now. Nothing is lost; try again.', {
        cause,
      })
    })
    return key
  }

  function keep(response: Response, url: string): { isNew: boolean } | undefined {
    const nonce = response.headers.get('dpop-nonce')
    if (!nonce) return undefined
    // A redirect may have led elsewhere.
    const { origin } = new URL(response.url || url)
    const isNew = nonces.get(origin) !== nonce
    nonces.delete(origin)
    nonces.set(origin, nonce)
    if (nonces.size > mostOrigins) nonces.delete(nonces.keys().next().value as string)
    return { isNew }
  }

  async function prove({ method, url }: AttachRequest, accessToken?: string): Promise<string> {
    const { pair, jwk } = await keyOf()
    const { origin, pathname } = new URL(url)
    const header = { typ: 'dpop+jwt', alg: 'ES256', jwk }
    const nonce = nonces.get(origin)
    const payload = {
      jti: randomId(),
      htm: method,
      // RFC 9449 §4.2: without query and fragment.
      htu: origin + pathname,
      iat: Math.floor(Date.now() / 1000),
      ...(accessToken && { ath: base64url(await subtle.digest('SHA-256', bytes(accessToken))) }),
      ...(nonce && { nonce }),
    }
    const input = [header, payload].map(part => base64url(bytes(JSON.stringify(part)))).join('.')
    const signature = await subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, pair.privateKey, bytes(input))
    return `${input}.${base64url(signature)}`
  }

  const attach = async (request: AttachRequest, tokens: Parameters<Attach>[1]): Promise<Record<string, string>> => {
    const { accessToken, tokenType } = tokens
    if (tokenType.toLowerCase() !== 'dpop') return { Authorization: `Bearer ${accessToken}` }
    return { Authorization: `DPoP ${accessToken}`, DPoP: await prove(request, accessToken) }
  }

  const thumbprint = async () => (await keyOf()).thumbprint

  const binding: Attach & TokenBinding = Object.assign(attach, {
    retry(response: Response, { url }: AttachRequest): boolean {
      const kept = keep(response, url)
      if (response.status !== 401 || !kept) return false
      // Where CORS hides the challenge, a nonce that changed says as much.
      const isHidden = response.headers.get('www-authenticate') === null
      return isHidden ? kept.isNew : tokenChallenge(response)?.error === 'use_dpop_nonce'
    },
    thumbprint,
    tie: (grant: Grant<never>, onLost: Parameters<TokenBinding['tie']>[1]) =>
      tieToKey(grant, binding, thumbprint, onLost),
    proof: async (request: AttachRequest) => ({ DPoP: await prove(request) }),
    async keepNonce(response: Response, { url }: AttachRequest): Promise<boolean> {
      if (!keep(response, url) || response.ok) return false
      const body = await response
        .clone()
        .json()
        .catch(() => undefined)
      return (body as { error?: unknown } | undefined)?.error === 'use_dpop_nonce'
    },
  })
  return binding
}

interface Key {
  readonly pair: CryptoKeyPair
  readonly jwk: JsonWebKey
  readonly thumbprint: string
}

async function open(keys: DpopKeys, subtle: SubtleCrypto): Promise<Key> {
  let pair = await keys.load()
  if (!pair) {
    const made = (await subtle.generateKey(algorithm, false, ['sign', 'verify'])) as CryptoKeyPair
    await keys.save(made)
    // Another tab may have been first.
    pair = (await keys.load()) ?? made
  }
  const { crv, kty, x, y } = await subtle.exportKey('jwk', pair.publicKey)
  if (crv !== 'P-256') {
    throw new SessionError('misconfigured', 'The stored DPoP key is no ECDSA key on P-256. Let dpop() make its keys.')
  }
  // RFC 7638 §3.2: these members, in this order.
  const jwk = { crv, kty, x, y } as JsonWebKey
  return { pair, jwk, thumbprint: base64url(await subtle.digest('SHA-256', bytes(JSON.stringify(jwk)))) }
}

// Not thrown at once: this runs in a timer, where nobody would catch it.
async function tooLate(): Promise<never> {
  throw new Error(`The store of the keys did not answer within ${keyTimeoutMs} ms.`)
}

const bytes = (text: string) => new TextEncoder().encode(text)

const base64url = (data: ArrayBuffer | Uint8Array): string =>
  btoa(String.fromCharCode(...new Uint8Array(data as ArrayBuffer)))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
