import { createSession, isSessionError, passwordGrant, webStorage } from 'latchkey'

interface Config {
  readonly api: string
  readonly user: { readonly username: string; readonly password: string }
  readonly lifetimeMs: number
}

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T
const config = (await (await fetch('/config.json')).json()) as Config

const session = createSession({
  resources: config.api,
  grant: passwordGrant({
    tokenEndpoint: `${config.api}/token`,
    revocationEndpoint: `${config.api}/revoke`,
    clientId: 'demo',
    scope: 'collect activity',
  }),
  storage: webStorage('session'),
})
// For the tests of this page, and for whoever opens the console.
Object.assign(globalThis, { session })

const totals = { ok: 0, failed: 0, renewals: 0, resends: 0 }
function count(what: keyof typeof totals): void {
  totals[what]++
  element(`total-${what}`).textContent = String(totals[what])
}

function log(list: string, text: string, tone = ''): void {
  const line = document.createElement('li')
  const time = document.createElement('time')
  time.textContent = new Date().toLocaleTimeString()
  const what = document.createElement('span')
  what.className = tone
  what.textContent = text
  line.append(time, what)
  element(list).prepend(line)
  while (element(list).children.length > 60) element(list).lastElementChild?.remove()
}

session.on('request', ({ method, url, attempt, status, durationMs }) => {
  if (attempt > 1) count('resends')
  const again = attempt > 1 ? ' (again)' : ''
  log(
    'sent',
    `${method} ${new URL(url).pathname} → ${status ?? 'no answer'}${again}, ${Math.round(durationMs)} ms`,
    status === 200 ? 'good' : 'bad',
  )
})
session.on('renewed', ({ how }) => {
  count('renewals')
  log('sent', how === 'renewed' ? 'token renewed, refresh token rotated' : 'token adopted from another tab', 'brass')
})
session.on('renewal-failed', ({ error }) => log('sent', `renewal failed: ${error.code}`, 'bad'))
session.on('signed-out', ({ reason }) => log('sent', `signed out (${reason})`, 'brass'))

const say = (text: string) => {
  element('status').textContent = text
}

async function call(): Promise<void> {
  try {
    const response = await session.fetch(`${config.api}/collect`)
    count(response.ok ? 'ok' : 'failed')
  } catch (error) {
    count('failed')
    say(isSessionError(error) ? error.message : String(error))
  }
}

element<HTMLFormElement>('sign-in').addEventListener('submit', async event => {
  event.preventDefault()
  const form = new FormData(event.target as HTMLFormElement)
  say('Signing in …')
  try {
    await session.signIn({ username: String(form.get('username')), password: String(form.get('password')) })
    say('')
  } catch (error) {
    say(isSessionError(error) ? error.message : String(error))
  }
})
element('call-one').addEventListener('click', call)
element('call-twenty').addEventListener('click', () => Promise.all(Array.from({ length: 20 }, call)))
element('sign-out').addEventListener('click', () => session.signOut())

let watching: AbortController | undefined
function render(): void {
  const isIn = session.state.status === 'signed-in'
  element('sign-in').hidden = isIn
  element('signed-in').hidden = !isIn
  if (isIn && !watching) void watchActivity()
  if (!isIn) {
    watching?.abort()
    watching = undefined
  }
}
session.subscribe(render)
render()

/** The server's own view, by an event stream with an Authorization header; reconnects with the newest token. */
async function watchActivity(): Promise<void> {
  const mine = new AbortController()
  watching = mine
  while (!mine.signal.aborted) {
    try {
      const { body, ok, status } = await session.fetch(`${config.api}/activity/stream`, {
        signal: mine.signal,
        headers: { 'Last-Event-ID': lastActivity },
      })
      if (!ok || !body) return log('activity', `the stream answered ${status}`, 'bad')
      const reader = body.pipeThrough(new TextDecoderStream()).getReader()
      let rest = ''
      for (;;) {
        const { done, value } = await reader.read()
        if (done) break
        const events = (rest + value).split('\n\n')
        rest = events.pop() ?? ''
        for (const event of events) showActivity(event)
      }
    } catch {
      if (session.state.status !== 'signed-in') return
    }
    await new Promise(resolve => setTimeout(resolve, 500))
  }
}

// Where the stream goes on after a reconnect: from the start at first.
let lastActivity = '0'

function showActivity(event: string): void {
  lastActivity =
    event
      .split('\n')
      .find(line => line.startsWith('id:'))
      ?.slice(3)
      .trim() ?? lastActivity
  const data = event
    .split('\n')
    .find(line => line.startsWith('data:'))
    ?.slice(5)
  if (!data) return
  const { kind, address, client_id } = JSON.parse(data) as { kind: string; address: string; client_id: string }
  log('activity', `${kind} · client ${client_id} · from ${address}`, kind === 'reuse' ? 'bad' : '')
}

function tick(): void {
  const { state } = session
  if (state.status === 'signed-in' && state.expiresAtMs !== undefined) {
    const left = Math.max(state.expiresAtMs - Date.now(), 0)
    element<HTMLMeterElement>('life').value = left / config.lifetimeMs
    element('left').textContent = left ? `${(left / 1000).toFixed(1)} s` : 'expired: the next call renews'
  }
  requestAnimationFrame(tick)
}
tick()

const field = (name: string) => document.querySelector<HTMLInputElement>(`input[name=${name}]`)
const [username, password] = [field('username'), field('password')]
if (username) username.value = config.user.username
if (password) password.value = config.user.password
