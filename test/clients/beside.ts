import { once } from 'node:events'
import { build } from 'esbuild'
import { chromium } from 'playwright'
import { WebSocketServer } from 'ws'
import { createServer, type DemoServer } from '../../demo/server/server.ts'
import { createSession, refreshTokenGrant, type TokenResponse } from '../../src/index.ts'
import { findChromium } from '../support/chromium.ts'
import { follow } from './recipes/event-source.ts'
import { stayConnected } from './recipes/websocket.ts'

function check(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(what)
}

const clientId = 'demo'

async function signIn({ origin, demoUser }: DemoServer): Promise<TokenResponse> {
  const body = new URLSearchParams({ grant_type: 'password', client_id: clientId, ...demoUser })
  return (await fetch(`${origin}/token`, { method: 'POST', body })).json() as Promise<TokenResponse>
}

async function openDemo() {
  let skewMs = 0
  const server = await createServer({ seed: true, heartbeatMs: 20, clock: () => Date.now() + skewMs })
  const session = createSession({
    resources: server.origin,
    grant: refreshTokenGrant({ tokenEndpoint: `${server.origin}/token`, clientId }),
    renewal: { minIntervalMs: 0 },
  })
  await session.adopt(await signIn(server))
  return {
    server,
    session,
    /** The server's clock runs ahead: the token that is out is over for it, and its stream ends. */
    endToken: () => {
      skewMs += 400_000
    },
    close: async () => {
      session.dispose()
      await server.close()
    },
  }
}

/** A socket server that asks the demo server about the token in the first message, and closes with it. */
async function openSockets({ server }: Awaited<ReturnType<typeof openDemo>>) {
  const tokens: string[] = []
  const sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await once(sockets, 'listening')
  sockets.on('connection', socket => {
    socket.once('message', async data => {
      const { token } = JSON.parse(String(data))
      const answer = await fetch(`${server.origin}/activity`, { headers: { Authorization: `Bearer ${token}` } })
      if (answer.status !== 200) return socket.close(4401, 'unauthorized')
      tokens.push(token)
      socket.send('welcome')
    })
  })
  return {
    url: `ws://127.0.0.1:${(sockets.address() as { port: number }).port}`,
    tokens,
    closeAll: () => {
      for (const socket of sockets.clients) socket.close(4401, 'the token is over')
    },
    stop: () => {
      for (const socket of sockets.clients) socket.terminate()
      sockets.close()
    },
  }
}

async function webSocket(): Promise<void> {
  const demo = await openDemo()
  const sockets = await openSockets(demo)
  const stop = new AbortController()
  try {
    let welcomes = 0
    let rotating: Promise<unknown> = Promise.resolve()
    const work = stayConnected(
      demo.session,
      sockets.url,
      () => {
        welcomes++
        if (welcomes === 3) return stop.abort()
        // The token is rotated under the open socket, which the server then closes.
        rotating = demo.session.renew().then(() => sockets.closeAll())
      },
      stop.signal,
    )
    await work.catch(error => check(stop.signal.aborted, String(error)))
    await rotating
    check(welcomes === 3, `${welcomes} connections`)
    check(new Set(sockets.tokens).size === 3, 'a token was used twice')
    check(demo.server.stats().rotations === 2, `${demo.server.stats().rotations} rotations`)

    // A dead session ends the loop, and asks the server for nothing.
    await demo.session.signOut()
    const again = await stayConnected(demo.session, sockets.url, () => undefined, new AbortController().signal).catch(
      error => error,
    )
    check(again?.code === 'signed_out', `a dead session: ${again}`)
    check(sockets.tokens.length === 3, 'it connected without a session')
  } finally {
    sockets.stop()
    await demo.close()
  }
}

async function eventSource(): Promise<void> {
  const demo = await openDemo()
  const events = follow(demo.session, `${demo.server.origin}/activity/stream`)
  try {
    for (let connection = 1; connection <= 3; connection++) {
      await new Promise<void>((resolve, reject) => {
        events.onopen = () => resolve()
        setTimeout(() => reject(new Error(`connection ${connection} did not open`)), 10_000).unref()
      })
      if (connection < 3) demo.endToken()
    }
    const { rotations, reuses } = demo.server.stats()
    check(rotations === 2 && reuses === 0, `${rotations} rotations, ${reuses} reuses`)
  } finally {
    events.close()
    await demo.close()
  }
}

async function xhr(): Promise<void> {
  const demo = await openDemo()
  const { outputFiles } = await build({
    stdin: {
      contents: "export * from '../../src/index.ts'; export { upload } from './recipes/xhr.ts'",
      resolveDir: import.meta.dirname,
      loader: 'ts',
    },
    bundle: true,
    format: 'iife',
    globalName: 'page',
    write: false,
  })
  await using browser = await chromium.launch(await findChromium())
  try {
    const tab = await browser.newPage()
    await tab.goto(`${demo.server.origin}/docs`)
    await tab.evaluate(`${outputFiles[0]?.text}; globalThis.page = page; undefined`)
    await tab.evaluate(`(async () => {
      const { createSession, refreshTokenGrant } = page
      globalThis.session = createSession({
        resources: location.origin,
        grant: refreshTokenGrant({ tokenEndpoint: location.origin + '/token', clientId: 'demo' }),
        renewal: { minIntervalMs: 0 },
      })
      await session.adopt(${JSON.stringify(await signIn(demo.server))})
    })()`)
    for (let call = 1; call <= 3; call++) {
      const status = await tab.evaluate(
        `page.upload(session, location.origin + '/collect', '{"call":${call}}', () => {}).then(({ status }) => status)`,
      )
      check(status === 201, `call ${call} was answered ${status}`)
      if (call < 3) demo.server.faults.rejectAccessTokensIssuedUntilNow()
    }
    const { rotations, reuses } = demo.server.stats()
    check(rotations === 2 && reuses === 0, `${rotations} rotations, ${reuses} reuses`)
  } finally {
    await demo.close()
  }
}

export const besideTests: readonly [name: string, test: () => Promise<void>][] = [
  ['WebSocket', webSocket],
  ['EventSource', eventSource],
  ['XHR', xhr],
]
