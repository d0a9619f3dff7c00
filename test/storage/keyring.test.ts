import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createSession } from '../../src/index.ts'
import { keyringStorage } from '../../src/node.ts'

/** A real Secret Service: gnome-keyring on a bus of its own. In CI it must be there; elsewhere its tests are skipped, and say so. */
const hasKeyring = (() => {
  if (process.platform !== 'linux') return false
  const isThere = (command: string) => !spawnSync(command, ['--version']).error
  if (isThere('dbus-run-session') && isThere('gnome-keyring-daemon')) return true
  if (process.env.CI) throw new Error('gnome-keyring or dbus is missing: install the packages gnome-keyring and dbus.')
  console.error('\n!!! gnome-keyring or dbus is missing: the tests on a real Secret Service are SKIPPED.\n')
  return false
})()

let home: string
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'latchkey-home-'))
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

/** Runs the contract suites, or one of the faults, inside a session bus; resolves with what the process said. */
function inSession(what: string, unlock: string): Promise<{ code: number | null; text: string }> {
  const script = fileURLToPath(new URL('./keyring-session.ts', import.meta.url))
  const command = `${unlock} exec "${process.execPath}" "${script}" ${what}`
  const child = spawn('dbus-run-session', ['--', 'sh', '-c', command], {
    env: {
      PATH: process.env.PATH,
      HOME: home,
      XDG_RUNTIME_DIR: home,
      XDG_DATA_HOME: join(home, 'data'),
      NODE_NO_WARNINGS: '1',
    },
  })
  let text = ''
  child.stdout.on('data', chunk => {
    text += chunk
  })
  child.stderr.on('data', chunk => {
    text += chunk
  })
  return new Promise(resolve => child.on('exit', code => resolve({ code, text })))
}

const unlocked = 'printf pw | gnome-keyring-daemon --unlock --components=secrets >/dev/null;'

describe.skipIf(!hasKeyring)('keyringStorage on a real Secret Service', () => {
  it('keeps a value of 64 kB, compares and sets, keeps accounts apart, removes', async () => {
    const { code, text } = await inSession('works', unlocked)
    expect(text).toContain('all well')
    expect(code).toBe(0)
  }, 30_000)

  it('serves a session, and a second process finds it signed in', async () => {
    const first = await inSession('sign-in', unlocked)
    expect(first.text).toContain('signed-in')
    const second = await inSession('look', unlocked)
    expect(second.text).toContain('signed-in')
  }, 30_000)

  it('is storage_unavailable while the keyring is locked', async () => {
    const { text } = await inSession('look', 'gnome-keyring-daemon --start --components=secrets >/dev/null 2>&1;')
    expect(text).toContain('storage_unavailable')
    expect(text).toMatch(/keyring.*D-Bus/)
  }, 30_000)
})

describe('keyringStorage', () => {
  it('refuses an empty service', () => {
    expect(() => keyringStorage('')).toThrowError(expect.objectContaining({ code: 'misconfigured' }))
  })

  it('writes nothing where it can make no lock for the processes of this host', async () => {
    const { HOME } = process.env
    const file = join(home, 'a-file')
    writeFileSync(file, '')
    process.env.HOME = file
    try {
      await expect(keyringStorage('latchkey-test').setItem('a', 'text')).rejects.toThrow(`no lock in ${file}/.latchkey`)
    } finally {
      restore('HOME', HOME)
    }
  })

  it.runIf(process.platform === 'linux')(
    'is storage_unavailable without a bus, names it, and falls back to nothing',
    async () => {
      const { DBUS_SESSION_BUS_ADDRESS, XDG_RUNTIME_DIR } = process.env
      process.env.DBUS_SESSION_BUS_ADDRESS = 'unix:path=/nonexistent/bus'
      process.env.XDG_RUNTIME_DIR = '/nonexistent'
      try {
        const storage = keyringStorage('latchkey-test')
        const session = createSession({
          resources: 'https://api.example.com',
          storage,
          grant: async () => ({ access_token: 'x' }),
        })
        const error = await session.getAccessToken().catch(failure => failure)
        expect(error).toMatchObject({ code: 'storage_unavailable' })
        expect(String(error.cause?.message)).toMatch(/keyring.*D-Bus/)
      } finally {
        restore('DBUS_SESSION_BUS_ADDRESS', DBUS_SESSION_BUS_ADDRESS)
        restore('XDG_RUNTIME_DIR', XDG_RUNTIME_DIR)
      }
    },
  )
})

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name]
  else process.env[name] = value
}
