import { deviceAuthorizationRequest, deviceCodeGrantRequest, processDeviceCodeResponse } from 'oauth4webapi'
import type { Grant, GrantContext } from '../ports/grant.ts'
import { SessionError } from '../values/errors.ts'
import type { TokenResponse } from '../values/token-set.ts'
import {
  assertBound,
  createOAuthClient,
  endpointError,
  type IssuerOptions,
  readJson,
  readTokens,
  withoutEmpty,
} from './authorization-server.ts'
import { createEndSession } from './end-session.ts'
import { TokenEndpointError } from './endpoint-error.ts'
import { signInFailure, wrongField } from './sign-in-failure.ts'
import type { ClientOptions } from './token-endpoint.ts'

/** What the user is told: go there and type that. */
export interface DevicePrompt {
  readonly userCode: string
  readonly verificationUri: string
  /** With the code in it: for a link or a QR code. */
  readonly verificationUriComplete?: string
  /** Epoch milliseconds. */
  readonly expiresAtMs: number
}

export type DeviceCodeOptions = IssuerOptions &
  ClientOptions & {
    /** Shows the code; polling begins when it has returned or resolved. Throws or rejects: the sign-in fails, and nothing is asked any more. */
    onPrompt: (prompt: DevicePrompt) => unknown
  }

// biome-ignore lint/suspicious/noConfusingVoidType: `void` is what lets a caller leave the argument out.
type DeviceSignIn = { signal?: AbortSignal } | void

interface Device {
  readonly code: string
  readonly prompt: DevicePrompt
  readonly intervalMs: number
}

// RFC 8628 §3.2 and §3.5.
const defaultIntervalMs = 5000
// Where the server does not say, although it has to: nobody asks for ever.
const defaultLifeMs = 600_000
const slowDownMs = 5000

/**
 * The device authorization grant (RFC 8628), for what has no browser. `session.signIn({ signal })` resolves once the user agreed on
 * another device; `sign_in_cancelled` where they refused or the code expired, with the code of §3.5 in its `cause`. It asks each 5 s or
 * as the server says, 5 s slower for good after `slow_down`. A lost connection or a 5xx meanwhile changes nothing.
 * @throws SessionError `misconfigured` without issuer or server, for an `http:` issuer that is not loopback
 */
export function deviceCode(options: DeviceCodeOptions): Grant<DeviceSignIn> {
  if (!options.issuer && !options.server) {
    throw new SessionError(
      'misconfigured',
      "deviceCode needs to know its server. Write issuer: 'https://login.example.com', or server: with its metadata.",
    )
  }
  const client = createOAuthClient(options)

  async function begin(context: GrantContext): Promise<Device> {
    const fields = Object.entries(withoutEmpty({ scope: options.scope }))
    for (const resource of [options.resource ?? []].flat()) fields.push(['resource', resource])
    const { response } = await client.exchange(
      'device_authorization_endpoint',
      context,
      (as, known, auth, sending) => deviceAuthorizationRequest(as, known, auth, fields, sending),
      { isBound: false },
    )
    if (!response.ok) throw await endpointError(response)
    const answer = (await readJson(response)) ?? {}
    const { device_code, user_code, verification_uri_complete, expires_in, interval } = answer
    // Google writes it as the drafts of RFC 8628 did.
    const verification_uri = answer.verification_uri ?? answer.verification_url
    if (![device_code, user_code, verification_uri].every(field => typeof field === 'string')) {
      throw signInFailure('device_code', 'The authorization server gave no device code.')
    }
    return {
      code: device_code as string,
      intervalMs: Number(interval) > 0 ? Number(interval) * 1000 : defaultIntervalMs,
      prompt: {
        userCode: user_code as string,
        verificationUri: verification_uri as string,
        ...(typeof verification_uri_complete === 'string' && { verificationUriComplete: verification_uri_complete }),
        expiresAtMs: context.nowMs() + (Number(expires_in) > 0 ? Number(expires_in) * 1000 : defaultLifeMs),
      },
    }
  }

  async function ask(code: string, context: GrantContext): Promise<TokenResponse> {
    const { response, ...asked } = await client.exchange('token_endpoint', context, (as, known, auth, sending) =>
      deviceCodeGrantRequest(as, known, auth, code, {
        ...sending,
        additionalParameters: withoutEmpty({ ...options.parameters, resource: [options.resource].flat()[0] }),
      }),
    )
    const tokens = await readTokens(response.clone())
    if (tokens.id_token) {
      await processDeviceCodeResponse(asked.as, asked.client, response).catch(error => {
        throw wrongField(error)
      })
    }
    assertBound(tokens, context)
    return tokens
  }

  return {
    name: 'device_code',
    async signIn(_input, context) {
      const { code, prompt, intervalMs } = await begin(context)
      try {
        await options.onPrompt(prompt)
      } catch (cause) {
        throw new SessionError('sign_in_failed', 'onPrompt failed, so nobody could see the code.', { cause })
      }
      let pauseMs = intervalMs
      while (true) {
        await pause(pauseMs, context.signal)
        if (context.nowMs() >= prompt.expiresAtMs) throw cancelled('expired_token')
        try {
          return await ask(code, context)
        } catch (error) {
          pauseMs += patience(error)
        }
      }
    },
    renew: (tokens, context) => client.refresh(tokens, context, options.parameters),
    ...createEndSession(client, options.clientId),
    canRenew: ({ refreshToken }) => refreshToken !== undefined,
  }
}

/** How much slower to go on asking. @throws what ends the sign-in */
function patience(error: unknown): number {
  if (error instanceof SessionError) throw error
  // Nobody answered: the next question may be luckier.
  if (!(error instanceof TokenEndpointError)) return 0
  if (error.error === 'authorization_pending') return 0
  if (error.error === 'slow_down' || error.status === 429) return slowDownMs
  if (error.error === 'access_denied' || error.error === 'expired_token') throw cancelled(error.error)
  if (error.status >= 500) return 0
  throw error
}

const cancelled = (code: 'access_denied' | 'expired_token') =>
  new SessionError(
    'sign_in_cancelled',
    code === 'access_denied'
      ? 'The user refused on the other device.'
      : 'The device code expired before anybody used it.',
    { cause: Object.assign(new Error(code), { code }) },
  )

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', leave)
      resolve()
    }, ms)
    if (signal.aborted) leave()
    else signal.addEventListener('abort', leave, { once: true })
  })
}
