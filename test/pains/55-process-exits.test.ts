import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const entry = new URL('../../src/index.ts', import.meta.url).href
const cwd = fileURLToPath(new URL('../..', import.meta.url))

/** Runs a script that never calls process.exit; one that does not end by itself is killed and rejects. */
async function run(script: string): Promise<string> {
  const source = `import { createSession, memoryStorage } from ${JSON.stringify(entry)}\n${script}`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', source], {
    cwd,
    timeout: 10_000,
  })
  return stdout.trim()
}

const setUp = `
let renewals = 0
const memory = memoryStorage()
const session = createSession({
  resources: 'https://api.example.com',
  storage: { ...memory, scope: SCOPE },
  grant: async () => ({ access_token: 'a' + ++renewals, refresh_token: 'r', expires_in: 3600 }),
  fetch: async () => new Response('ok'),
})
await session.adopt({ access_token: 'a0', refresh_token: 'r', expires_in: LIFETIME })
const { status } = await session.fetch('https://api.example.com/')
console.log(status, renewals)
`

it.each([
  ['memory', 'context', 3600, '200 0'],
  ['a shared storage, with its lock and channel', 'shared', 3600, '200 0'],
  ['a shared storage, after a renewal', 'shared', 0, '200 1'],
])(
  'pain 55: a script that signs in and makes one call exits by itself, with %s',
  async (_what, scope, lifetime, output) => {
    const script = setUp.replace('SCOPE', JSON.stringify(scope)).replace('LIFETIME', String(lifetime))
    expect(await run(script)).toBe(output)
  },
)

it('pain 55: a session that can not save exits as well', async () => {
  const script = setUp
    .replace(
      'scope: SCOPE',
      'scope: "shared", setItem: () => Promise.reject(new Error("full")), replaceItem: undefined',
    )
    .replace('LIFETIME', '3600')
  expect(await run(script)).toBe('200 0')
})

it('pain 55: dispose can be called again and again, also by `using`', async () => {
  const script = `${setUp.replace('SCOPE', '"shared"').replace('LIFETIME', '3600')}
session.dispose()
session.dispose()
session[Symbol.dispose]()
console.log(await session.fetch('https://api.example.com/').catch(error => error.code))`
  expect(await run(script)).toBe('200 0\ndisposed')
})
