import { describe, expect, it, vi } from 'vitest'
import { tieToKey } from '../../src/attach/tied-to-key.ts'
import type { Attach, Grant, GrantContext } from '../../src/index.ts'
import { SessionError } from '../../src/values/errors.ts'
import { secret } from '../support/no-leaks.ts'

const lost = new SessionError('signed_out', 'The key is gone.')
const tokens = (jkt?: string) => ({ accessToken: secret('a'), tokenType: 'DPoP', ...(jkt && { jkt }) })
const response = (token_type?: string) => ({ access_token: secret('a'), ...(token_type && { token_type }) })
const request = { method: 'GET', url: 'https://api.example.com/' }
const context = {} as GrantContext

function createAttach() {
  const attach = vi.fn(async () => ({ Authorization: 'DPoP x' }))
  return Object.assign(attach as unknown as Attach, { retry: () => true })
}

class OwnGrant implements Grant<never> {
  readonly name = 'own'
  readonly calls: unknown[][] = []
  revoked = 0
  async signIn(...given: unknown[]) {
    this.calls.push(['signIn', ...given])
    return response('DPoP')
  }
  async complete(...given: unknown[]) {
    this.calls.push(['complete', ...given])
    return given[0] === 'none' ? undefined : response('dpop')
  }
  async renew(...given: unknown[]) {
    this.calls.push(['renew', ...given])
    return response('DPoP')
  }
  async revoke() {
    this.revoked++
  }
}

describe('an attach with a key', () => {
  function setUp() {
    const grant = new OwnGrant()
    const thumbprint = vi.fn(async () => 'key')
    const attach = createAttach()
    const onLost = vi.fn((_tokens: unknown) => lost)
    return { grant, attach, thumbprint, onLost, bound: tieToKey(grant, attach, thumbprint, onLost) }
  }

  it.each(['DPoP', 'dpop', 'DPOP'])('puts its thumbprint to the tokens of type %s', async type => {
    expect(await setUp().bound.bind(response(type))).toEqual({ ...response(type), jkt: 'key' })
  })

  it.each([response('Bearer'), response(), undefined])('and to no others: %o', given => {
    const { bound, thumbprint } = setUp()
    expect(bound.bind(given)).toBe(given)
    expect(thumbprint).not.toHaveBeenCalled()
  })

  it('takes tokens of its own key, and of none', async () => {
    const { bound, thumbprint, onLost } = setUp()
    await bound.check(tokens())
    expect(thumbprint).not.toHaveBeenCalled()
    await bound.check(tokens('key'))
    expect(onLost).not.toHaveBeenCalled()
  })

  it('sends and renews nothing with those of another', async () => {
    const { bound, attach, grant, onLost } = setUp()
    await expect(bound.check(tokens('other'))).rejects.toBe(lost)
    expect(onLost).toHaveBeenCalledWith(tokens('other'))
    await expect((async () => bound.attach(request, tokens('other')))()).rejects.toBe(lost)
    await expect(bound.grant.renew?.(tokens('other'), context)).rejects.toBe(lost)
    expect(attach).not.toHaveBeenCalled()
    expect(grant.calls).toEqual([])
  })

  it('is the attach that it was for all else', async () => {
    const { bound, attach } = setUp()
    expect(await bound.attach(request, tokens('key'))).toEqual({ Authorization: 'DPoP x' })
    expect(attach).toHaveBeenCalledWith(request, tokens('key'))
    expect(bound.attach.retry).toBe(attach.retry)
  })

  it('is the grant that it was for all else', async () => {
    const { bound, grant } = setUp()
    expect(await bound.grant.signIn?.('input' as never, context)).toEqual({ ...response('DPoP'), jkt: 'key' })
    expect(await bound.grant.complete?.('url', context)).toEqual({ ...response('dpop'), jkt: 'key' })
    expect(await bound.grant.complete?.('none', context)).toBeUndefined()
    // A renewal keeps what its sign-in was bound to.
    expect(await bound.grant.renew?.(tokens('key'), context)).toEqual(response('DPoP'))
    expect(grant.calls).toEqual([
      ['signIn', 'input', context],
      ['complete', 'url', context],
      ['complete', 'none', context],
      ['renew', tokens('key'), context],
    ])
    await bound.grant.revoke?.(tokens(), context)
    expect(bound.grant.name).toBe('own')
  })

  it('has no method that the grant has not', () => {
    const { grant } = tieToKey(
      {},
      createAttach(),
      async () => 'key',
      () => lost,
    )
    expect([grant.signIn, grant.complete, grant.renew, grant.revoke]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ])
  })
})
