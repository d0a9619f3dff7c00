import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Interaction, Provider } from 'oidc-provider'
import { consentPage } from './consent-page.ts'
import { createMemoryAdapter } from './memory-adapter.ts'
import { ownPages } from './server-page.ts'

/** A certified authorization server (oidc-provider) with a sign-in and consent page, and a small API that takes its tokens. */
export interface OAuthProvider {
  readonly issuer: string
  readonly provider: Provider
  /** Requests to each path, newest last. */
  readonly requests: { readonly method: string; readonly path: string; readonly status: () => number }[]
  /** Sees a request before the server does; true: it has answered it. */
  intercept: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined
  close(): Promise<void>
}

export interface OAuthProviderOptions {
  readonly port?: number
  readonly clients: readonly Record<string, unknown>[]
  /** Of oidc-provider. */
  readonly features?: Record<string, unknown>
  readonly configuration?: Record<string, unknown>
  /** Seconds, by kind. */
  readonly ttl?: Partial<typeof ttl>
  /** Origins of pages that may call the token endpoint. */
  readonly allowedOrigins?: readonly string[]
  readonly cookieKeys?: readonly string[]
}

const ttl = {
  AccessToken: 600,
  AuthorizationCode: 60,
  DeviceCode: 600,
  Grant: 86_400,
  IdToken: 3600,
  Interaction: 3600,
  RefreshToken: 86_400,
  Session: 86_400,
}
const signingKey = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' })

interface OAuthClient {
  readonly clientId: string
  readonly clientAuthMethod: string
}

const isOwnToken = (_context: unknown, client: OAuthClient, token: { clientId: string }) =>
  token.clientId === client.clientId

/** Starts it on 127.0.0.1. */
export async function createOAuthProvider(options: OAuthProviderOptions): Promise<OAuthProvider> {
  const { port = 0, clients, features = {}, allowedOrigins = [], configuration = {} } = options
  let listener: RequestListener = (_request, response) => response.writeHead(503).end()
  const server = createServer((request, response) => listener(request, response))
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  const provider = new Provider(issuer, {
    clients,
    adapter: createMemoryAdapter(),
    jwks: { keys: [{ ...signingKey, kid: 'demo', use: 'sig', alg: 'RS256' }] },
    ttl: { ...ttl, ...options.ttl },
    cookies: { keys: options.cookieKeys ?? ['only for the demo'] },
    clientBasedCORS: (_context: unknown, origin: string) => allowedOrigins.includes(origin),
    findAccount: (_context: unknown, sub: string) => ({
      accountId: sub,
      claims: () => ({ sub, name: sub, email: `${sub}@example.com` }),
    }),
    claims: { openid: ['sub'], profile: ['name'], email: ['email'] },
    scopes: ['openid', 'offline_access', 'profile', 'email', 'read', 'write'],
    interactions: { url: (_context: unknown, { uid }: Interaction) => `/interaction/${uid}` },
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: false },
      revocation: { enabled: true, allowedPolicy: isOwnToken },
      introspection: {
        enabled: true,
        allowedPolicy: (_context: unknown, client: OAuthClient, token: { clientId: string }) =>
          client.clientAuthMethod !== 'none' || isOwnToken(_context, client, token),
      },
      rpInitiatedLogout: { enabled: true, ...ownPages.logout },
      deviceFlow: { enabled: true, ...ownPages.device },
      pushedAuthorizationRequests: { enabled: false },
      dPoP: { enabled: true },
      ...features,
    },
    renderError: ownPages.renderError,
    ...configuration,
  })

  const requests: OAuthProvider['requests'] = []
  const self: OAuthProvider = {
    issuer,
    provider,
    requests,
    intercept: undefined,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  const handle = provider.callback()
  listener = (request, response) => {
    const { pathname } = new URL(request.url ?? '/', issuer)
    requests.push({ method: request.method ?? '', path: pathname, status: () => response.statusCode })
    if (self.intercept?.(request, response)) return
    const [, uid, action] = /^\/interaction\/([^/]+)(?:\/(\w+))?$/.exec(pathname) ?? []
    if (!uid) return handle(request, response)
    void interact(provider, request, response, action).catch(() => response.writeHead(500).end())
  }
  return self
}

async function interact(
  provider: Provider,
  request: IncomingMessage,
  response: ServerResponse,
  action: string | undefined,
): Promise<void> {
  const details = await provider.interactionDetails(request, response)
  if (request.method !== 'POST') {
    response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store' })
    response.end(consentPage(details))
    return
  }
  const form = new URLSearchParams(await bodyOf(request))
  const result =
    action === 'abort'
      ? { error: 'access_denied', error_description: 'The user said no.' }
      : action === 'login'
        ? { login: { accountId: form.get('login') || 'ada' } }
        : { consent: { grantId: await consent(provider, details) } }
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: action === 'confirm' })
}

async function consent(provider: Provider, { grantId, session, params, prompt }: Interaction): Promise<string> {
  const known = grantId ? await provider.Grant.find(grantId) : undefined
  const grant = known ?? new provider.Grant({ accountId: session?.accountId ?? '', clientId: String(params.client_id) })
  const { missingOIDCScope, missingResourceScopes = {} } = prompt.details
  if (missingOIDCScope) grant.addOIDCScope(missingOIDCScope.join(' '))
  for (const [resource, scopes] of Object.entries(missingResourceScopes)) {
    grant.addResourceScope(resource, scopes.join(' '))
  }
  return grant.save()
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return Buffer.concat(parts).toString()
}
