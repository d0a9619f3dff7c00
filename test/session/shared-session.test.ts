import { afterEach, expect, it, vi } from 'vitest'
import { createSession, memoryStorage } from '../../src/index.ts'
import { warnsOfManyUsers } from '../../src/session/shared-session.ts'
import { secret } from '../support/no-leaks.ts'

afterEach(() => vi.restoreAllMocks())

const jwt = (sub: string) => {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'none' })}.${part({ sub })}.${secret(`signature-of-${sub}`)}`
}

async function warnings(users: string[], options: object = {}): Promise<number> {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  const session = createSession({
    resources: 'https://api.example.com',
    grant: async () => ({ access_token: secret('a') }),
    ...options,
  })
  for (const user of users) await session.adopt({ access_token: jwt(user), expires_in: 300 })
  for (const [text] of warn.mock.calls) {
    expect(text).toContain('createSessions()')
    for (const user of users) expect(text).not.toContain(user)
  }
  return warn.mock.calls.length
}

it('a session that users of one server take from each other is warned about, once', async () => {
  expect(await warnings(['alice-1', 'bob-2', 'carol-3'])).toBe(1)
})

it('the same user again, or a storage that was chosen, is no reason to', async () => {
  expect(await warnings(['alice-1', 'alice-1'])).toBe(0)
  expect(await warnings(['alice-1', 'bob-2'], { storage: memoryStorage() })).toBe(0)
})

it('in a page the next user is just the next user', async () => {
  vi.stubGlobal('document', { addEventListener() {}, removeEventListener() {} })
  try {
    expect(await warnings(['alice-1', 'bob-2'])).toBe(0)
  } finally {
    vi.unstubAllGlobals()
  }
})

it('one whose token names nobody, or who was not there before, is no reason to', async () => {
  expect(await warnings(['alice-1'])).toBe(0)
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  const session = createSession({
    resources: 'https://api.example.com',
    grant: async () => ({ access_token: secret('a') }),
  })
  await session.adopt({ access_token: secret('opaque') })
  await session.adopt({ access_token: jwt('bob-2') })
  await session.adopt({ access_token: secret('opaque') })
  expect(warn).not.toHaveBeenCalled()
})

it('the id token says whose it is, before the access token', async () => {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  const session = createSession({
    resources: 'https://api.example.com',
    grant: async () => ({ access_token: secret('a') }),
  })
  await session.adopt({ access_token: jwt('client'), id_token: jwt('alice-1') })
  await session.adopt({ access_token: jwt('other-client'), id_token: jwt('alice-1') })
  expect(warn).not.toHaveBeenCalled()
  await session.adopt({ access_token: jwt('other-client'), id_token: jwt('bob-2') })
  expect(warn).toHaveBeenCalledTimes(1)
  expect(warn.mock.calls[0]?.slice(0, 2)).toEqual([
    expect.stringMatching(/^Another user signed in.*Give each user a session/),
    'LatchkeyWarning',
  ])
})

it('a platform that has no warnings is not asked for one', async () => {
  vi.stubGlobal('process', undefined)
  const tokens = (sub: string) => ({ accessToken: jwt(sub), tokenType: 'Bearer' })
  try {
    expect(warnsOfManyUsers(tokens('alice-1'), tokens('bob-2'))).toBe(false)
    vi.stubGlobal('process', {})
    expect(warnsOfManyUsers(tokens('alice-1'), tokens('bob-2'))).toBe(false)
  } finally {
    vi.unstubAllGlobals()
  }
})
