import { once } from 'node:events'
import {
  credentials,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceError,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js'
import { build } from 'esbuild'
import { chromium } from 'playwright'
import { generate } from 'selfsigned'
import { WebSocketServer } from 'ws'
import { createServer, type DemoServer } from '../../demo/server/server.ts'
import { createSession, refreshTokenGrant, type TokenResponse } from '../../src/index.ts'
import { findChromium } from '../support/chromium.ts'
import { follow } from './recipes/event-source.ts'
import * as grpc from './recipes/grpc.ts'
import { stayConnected } from './recipes/websocket.ts'

function check(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(what)
}

const clientId = 'demo'

async function signIn({ origin, demoUser }: DemoServer): Promise<TokenResponse> {
  const body = new URLSearchParams({ grant_type: 'password', client_id: clientId, ...demoUser })
  return (await fetch(`${origin}/token`, { method: 'POST', body })).json() as Promise<TokenResponse>
}

async function openDemo(others: readonly string[] = []) {
  let skewMs = 0
  const server = await createServer({ seed: true, heartbeatMs: 20, clock: () => Date.now() + skewMs })
  const session = createSession({
    resources: [server.origin, ...others],
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

type Item = { marker: string }
const json = {
  requestSerialize: (value: Item) => Buffer.from(JSON.stringify(value)),
  requestDeserialize: (data: Buffer) => JSON.parse(data.toString()) as Item,
  responseSerialize: (value: Item) => Buffer.from(JSON.stringify(value)),
  responseDeserialize: (data: Buffer) => JSON.parse(data.toString()) as Item,
}
const service = {
  echo: { path: '/demo.Items/Echo', requestStream: false, responseStream: false, ...json },
  watch: { path: '/demo.Items/Watch', requestStream: false, responseStream: true, ...json },
} as const

/** A gRPC server over TLS that asks the demo server about each token, and ends its streams when told. */
async function openGrpc(isGood: (token: string) => Promise<boolean>) {
  const { private: key, cert } = await generate([{ name: 'commonName', value: 'localhost' }], {
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] }],
  })
  const tokens: string[] = []
  const streams = new Set<ServerWritableStream<Item, Item>>()
  const refusal = { code: status.UNAUTHENTICATED, message: 'the token is over' }
  async function isAllowed({ metadata }: { metadata: { get(name: string): unknown[] } }): Promise<boolean> {
    const token = String(metadata.get('authorization')[0]).slice('Bearer '.length)
    tokens.push(token)
    return isGood(token)
  }
  const server = new Server()
  server.addService(service, {
    echo: async (call: ServerUnaryCall<Item, Item>, callback: sendUnaryData<Item>) =>
      (await isAllowed(call)) ? callback(null, call.request) : callback(refusal),
    watch: async (call: ServerWritableStream<Item, Item>) => {
      if (!(await isAllowed(call))) return void call.emit('error', refusal)
      streams.add(call)
      call.write({ marker: 'open' })
    },
  })
  const secure = ServerCredentials.createSsl(null, [{ private_key: Buffer.from(key), cert_chain: Buffer.from(cert) }])
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('localhost:0', secure, (error, port) => (error ? reject(error) : resolve(port))),
  )
  return {
    origin: `https://localhost:${port}`,
    certificate: Buffer.from(cert),
    tokens,
    endStreams: () => {
      for (const stream of streams) stream.emit('error', refusal) // gRPC's way to end with a status
      streams.clear()
    },
    stop: () => server.forceShutdown(),
  }
}

async function overGrpc(): Promise<void> {
  let isGood: (token: string) => Promise<boolean> = async () => false
  const api = await openGrpc(token => isGood(token))
  const demo = await openDemo([api.origin])
  isGood = async token => {
    const headers = { Authorization: `Bearer ${token}` }
    return (await fetch(`${demo.server.origin}/activity`, { headers })).status === 200
  }
  const channel = credentials.combineChannelCredentials(
    credentials.createSsl(api.certificate),
    grpc.sessionCredentials(demo.session, api.origin),
  )
  const Client = makeGenericClientConstructor(service, 'Items')
  const client = new Client(new URL(api.origin).host, channel)
  const echo = (marker: string) =>
    new Promise<Item>((resolve, reject) => {
      client.echo?.({ marker }, (error: ServiceError | null, item: Item) => (error ? reject(error) : resolve(item)))
    })
  const stop = new AbortController()
  try {
    for (let round = 1; round <= 2; round++) {
      demo.server.faults.rejectAccessTokensIssuedUntilNow()
      const calls = Array.from({ length: 20 }, (_, index) => grpc.withSession(demo.session, () => echo(`${index}`)))
      const answers = await Promise.all(calls)
      check(
        answers.every(({ marker }, index) => marker === `${index}`),
        'another answer arrived',
      )
      const { rotations } = demo.server.stats()
      check(rotations === round, `${rotations} rotations after ${round} expiries`)
    }
    check(new Set(api.tokens).size === 3, `${new Set(api.tokens).size} tokens`)

    api.tokens.length = 0
    let opened = 0
    await grpc.follow<Item>(
      demo.session,
      () => client.watch?.({ marker: 'all' }),
      () => {
        opened++
        if (opened === 3) return stop.abort()
        // The token ends under the open stream, which the server then closes.
        demo.server.faults.rejectAccessTokensIssuedUntilNow()
        api.endStreams()
      },
      stop.signal,
    )
    check(opened === 3 && new Set(api.tokens).size === 3, `${opened} streams, ${new Set(api.tokens).size} tokens`)
    const { rotations, reuses } = demo.server.stats()
    check(rotations === 4 && reuses === 0, `${rotations} rotations, ${reuses} reuses`)

    // A dead session sends nothing, and says so as gRPC says it.
    await demo.session.signOut()
    api.tokens.length = 0
    const dead = await grpc.withSession(demo.session, () => echo('dead')).catch(error => error)
    check(dead.code === 'signed_out', `a dead session: ${dead}`)
    const bare = await echo('dead').catch(error => error)
    check(bare.code === status.UNAUTHENTICATED && /sign/i.test(bare.details), `a dead session: ${bare}`)
    check(!api.tokens.length, 'it called without a session')
  } finally {
    stop.abort()
    client.close()
    api.stop()
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
      const statuses = (await tab.evaluate(
        `Promise.all(Array.from({ length: 20 }, (_, index) =>
          page.upload(session, location.origin + '/collect', JSON.stringify({ call: ${call}, index }), () => {})
            .then(({ status }) => status)))`,
      )) as number[]
      check(
        statuses.every(status => status === 201),
        `call ${call} was answered ${statuses}`,
      )
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
  ['gRPC', overGrpc],
  ['XHR', xhr],
]
