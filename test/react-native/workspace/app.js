import { AbortController as Controller, AbortSignal as Signal } from 'abort-controller/dist/abort-controller'
import { Headers, fetch as polyfill, Request, Response } from 'whatwg-fetch'

Object.assign(globalThis, {
  AbortController: Controller,
  AbortSignal: Signal,
  fetch: polyfill,
  Headers,
  Request,
  Response,
})

const { createSession, passwordGrant } = require('latchkey')
const { appState, expoSecureStore, netInfo } = require('latchkey/react-native')

const api = 'https://api.example.com/v1'
const server = globalThis.vm?.server ?? { generation: 0, renewals: 0, signIns: 0 }

const tokens = () => {
  server.generation++
  const { generation } = server
  return {
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      access_token: `access-${generation}`,
      refresh_token: `refresh-${generation}`,
      token_type: 'Bearer',
      expires_in: 600,
    }),
  }
}

globalThis.serve = ({ url, headers, body }) => {
  if (url.endsWith('/token')) {
    const form = Object.fromEntries(
      String(body)
        .split('&')
        .map(pair => pair.split('=')),
    )
    if (form.grant_type === 'password') server.signIns++
    else server.renewals++
    if (form.refresh_token && form.refresh_token !== `refresh-${server.generation}`) {
      return { status: 400, headers: { 'content-type': 'application/json' }, body: '{"error":"invalid_grant"}' }
    }
    return tokens()
  }
  const isKnown = headers.authorization === `Bearer access-${server.generation}`
  if (isKnown) return { status: 200, body: 'ok' }
  return { status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token"' }, body: 'no' }
}

// The iOS keychain as expo-secure-store shows it.
const keychain = globalThis.vm?.keychain ?? {}
const later = value => new Promise(resolve => setTimeout(() => resolve(value), 2))
const SecureStore = {
  AFTER_FIRST_UNLOCK: 0,
  getItemAsync: key => later(keychain[key]?.value ?? null),
  setItemAsync(key, value, { keychainAccessible }) {
    if (!/^[\w.-]+$/.test(key)) throw new Error('Invalid key provided to SecureStore.')
    keychain[key] = { value, accessible: keychain[key]?.accessible ?? keychainAccessible }
    return later()
  },
  deleteItemAsync(key) {
    delete keychain[key]
    return later()
  },
}

const none = { addEventListener: () => ({ remove() {} }) }
const session = createSession({
  resources: api,
  grant: passwordGrant({ tokenEndpoint: 'https://api.example.com/token', clientId: 'app' }),
  storage: expoSecureStore(SecureStore),
  wake: [appState(none), netInfo(none)],
})

const said = []
const say = (what, value) => said.push([what, value])

async function firstStart() {
  await session.ready
  say('at first', session.state.status)
  await session.signIn({ username: 'alice', password: 'wonderland' })
  say('signed in', session.state.status)
  say('call', (await session.fetch(`${api}/things`)).status)
  globalThis.sleepFor(700_000)
  const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => session.fetch(`${api}/things/${index}`)))
  say('20 calls after the expiry', answers.map(({ status }) => status).filter(status => status === 200).length)
  say('renewals', server.renewals)
  const posted = await session.fetch(new Request(`${api}/things`, { method: 'POST', body: '{"a":1}' }))
  say('post', posted.status)
  const elsewhere = await session.fetch('https://elsewhere.example.com/')
  say('elsewhere, without a token', elsewhere.status)
  const controller = new AbortController()
  const aborted = session.fetch(`${api}/slow`, { signal: controller.signal })
  controller.abort()
  say('aborted', await aborted.catch(({ name }) => name))
  say('classes', [...new Set(Object.values(keychain).map(({ accessible }) => accessible))])
}

async function secondStart() {
  await session.ready
  say('after a restart', session.state.status)
  say('call', (await session.fetch(`${api}/things`)).status)
  say('sign-ins', server.signIns)
  await session.signOut()
  say('signed out', session.state.status)
  say('refused', await session.fetch(`${api}/things`).catch(({ code }) => code))
}

const run = globalThis.vm ? secondStart : firstStart
run().then(
  () => console.log(JSON.stringify({ said, vm: { keychain, server } })),
  error => console.log(`FAILED ${error?.name} ${error?.code} ${error?.message} ${error?.stack} ${error?.cause?.stack}`),
)
