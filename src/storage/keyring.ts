import { createHash } from 'node:crypto'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileLock } from '../locks/file.ts'
import type { Grip } from '../ports/lock.ts'
import type { TokenStorage } from '../ports/token-storage.ts'
import { SessionError } from '../values/errors.ts'
import { splitItems } from './split-items.ts'

export interface KeyringStorageOptions {
  /** Keeps several identities of one service apart: a part of the entry's user name. @default none */
  account?: string
}

/** What is needed of @napi-rs/keyring, 2.1 or later. */
interface KeyringModule {
  AsyncEntry: new (
    service: string,
    username: string,
    options: { linux: { store: 'secret-service' } },
  ) => {
    getPassword(): Promise<string | null | undefined>
    setPassword(password: string): Promise<void>
    deletePassword(): Promise<boolean>
  }
}

const leaseMs = 10_000

const folder = () => join(homedir(), '.latchkey')

/** The Windows Credential Manager takes 2,560 bytes of UTF-16; the others take what there is. */
const longestOf = (platform: string) => (platform === 'win32' ? 1200 : Number.POSITIVE_INFINITY)

/**
 * The keychain of the operating system, for a CLI or desktop app: macOS Keychain, Windows Credential Manager, the Secret Service on Linux.
 * Needs the optional peer `@napi-rs/keyring`. Its lock is a file in `~/.latchkey`, for all processes of this user on this host.
 * Locked, without a bus or without the package it is `storage_unavailable`; it never falls back to something lesser.
 * Entries that somebody else wrote are `storage_corrupt`. Values of any size; where the platform has a limit they are split.
 * @param service Names the app in the keychain, such as `com.example.app`.
 * @throws SessionError `misconfigured` without a service
 */
export function keyringStorage(service: string, { account }: KeyringStorageOptions = {}): TokenStorage {
  if (typeof service !== 'string' || !service) {
    throw new SessionError('misconfigured', 'Name your app: keyringStorage("com.example.app").')
  }
  let module: Promise<KeyringModule> | undefined
  const userOf = (key: string) => (account === undefined ? key : `${account} ${key}`)

  async function entry(name: string) {
    module ??= import('@napi-rs/keyring') as unknown as Promise<KeyringModule>
    const { AsyncEntry } = await module.catch(cause => {
      module = undefined
      throw new Error('keyringStorage needs a package: npm install @napi-rs/keyring', { cause })
    })
    // Left to itself it takes the kernel's keyring where there is no bus, in silence, and that forgets everything at a restart.
    return new AsyncEntry(service, name, { linux: { store: 'secret-service' } })
  }

  async function attempt<T>(run: (name: Awaited<ReturnType<typeof entry>>) => Promise<T>, name: string): Promise<T> {
    const opened = await entry(name).catch(explain)
    return run(opened).catch(explain)
  }

  const lock = fileLock(name => {
    const id = createHash('sha256')
      .update(`${service}\n${userOf(name)}`)
      .digest('hex')
      .slice(0, 32)
    return join(folder(), id)
  }, leaseMs)

  return {
    ...splitItems({
      getItem: name => attempt(item => item.getPassword(), userOf(name)),
      setItem: (name, value) => attempt(item => item.setPassword(value), userOf(name)),
      removeItem: name => attempt(item => item.deletePassword(), userOf(name)),
      longest: longestOf(process.platform),
      // One writer at a time on this host, whoever has the turn to renew.
      exclusively: (name, run) =>
        lock.request(`${name} writes`, {}, async (grip: Grip) => {
          if (grip.lost?.aborted)
            throw new Error(`keyringStorage can make no lock in ${folder()}, which it needs to write.`)
          await run()
        }),
    }),
    scope: 'shared',
    lock,
  }
}

function explain(error: unknown): never {
  const message = error instanceof Error ? error.message : String(error)
  if (message.startsWith('keyringStorage')) throw error
  const hint =
    process.platform === 'linux'
      ? ' It needs an unlocked keyring of a Secret Service (gnome-keyring, KWallet) on a D-Bus session bus.'
      : ' It may be locked.'
  throw new Error(`The keyring of the system can not be used: ${message}.${hint}`)
}
