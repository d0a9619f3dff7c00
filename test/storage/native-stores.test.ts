import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createDevice } from '../react-native/device.ts'
import { flavours } from '../react-native/flavours.ts'
import { describeStorage } from './storage-suite.ts'

const key = 'latchkey:api.example.com'

for (const [name, start] of flavours) {
  describeStorage(name, () => ({ storage: start(createDevice()) }))
  describeStorage(`${name}, with prompts`, () => ({ storage: start(createDevice(), { prompts: true }) }))

  describe(`${name}, killed`, () => {
    const sizes = [0, 1, 2047, 2048, 2049, 4096, 5000]
    const texts = fc
      .tuple(fc.constantFrom(...sizes), fc.nat(3), fc.constantFrom('x', 'ü', '漢', '💂🏽'))
      .map(([size, shift, unit]) => 'a'.repeat(shift) + unit.repeat(Math.ceil(size / unit.length)))

    async function everyKill(before: string | undefined, operation: 'write' | 'remove', after: string) {
      let kills = 0
      for (let killAt = 1; ; killAt++) {
        const device = createDevice()
        if (before !== undefined) await start(device).setItem(key, before)
        device.restart()
        device.killAt = killAt
        const dying = start(device)
        const isDone = await Promise.resolve(
          operation === 'write' ? dying.setItem(key, after) : dying.removeItem(key),
        ).then(
          () => true,
          () => false,
        )
        const wasKilled = device.calls >= killAt
        device.restart()
        const next = start(device)
        const found = (await next.getItem(key)) ?? undefined
        const target = operation === 'write' ? after : undefined
        if (isDone) expect(found).toBe(target)
        else expect([before, target]).toContain(found)
        // A second start reads the same, and what the first kill left is no burden for a write.
        expect((await start(device).getItem(key)) ?? undefined).toBe(found)
        await next.setItem(key, 'afterwards')
        expect(await start(device).getItem(key)).toBe('afterwards')
        expect(device.keychain.size + device.preferences.size).toBe(2)
        if (!wasKilled) return kills
        kills++
      }
    }

    it('before any native call of a first write, an overwrite or a removal, it has the old or the new record', async () => {
      let kills = 0
      await fc.assert(
        fc.asyncProperty(
          fc.option(texts, { nil: undefined }),
          texts,
          fc.constantFrom('write' as const, 'remove' as const),
          async (before, after, operation) => {
            if (before !== undefined && operation === 'write') fc.pre(before !== after)
            kills += await everyKill(before, operation, after)
          },
        ),
        { numRuns: 40 },
      )
      expect(kills).toBeGreaterThan(100)
    })

    it('during a write that follows a killed write, it has one of the three', async () => {
      const [first, second, third] = ['1'.repeat(3000), '2'.repeat(5000), '3'.repeat(4500)]
      for (let killAt = 1; killAt < 16; killAt++) {
        for (let killAgainAt = 1; killAgainAt < 20; killAgainAt++) {
          const device = createDevice()
          await start(device).setItem(key, first)
          device.restart()
          device.killAt = killAt
          await Promise.resolve(start(device).setItem(key, second)).catch(() => undefined)
          device.restart()
          device.killAt = killAgainAt
          await Promise.resolve(start(device).setItem(key, third)).catch(() => undefined)
          device.restart()
          expect([first, second, third]).toContain(await start(device).getItem(key))
        }
      }
    })

    it('leaves nothing of an old record behind once the next process has read', async () => {
      for (let killAt = 1; killAt < 16; killAt++) {
        const device = createDevice()
        await start(device).setItem(key, 'old'.repeat(1500))
        device.restart()
        device.killAt = killAt
        await Promise.resolve(start(device).setItem(key, 'new'.repeat(1500))).catch(() => undefined)
        device.restart()
        const next = start(device)
        const found = (await next.getItem(key)) as string
        await next.getItem(key) // behind the upkeep of the first read
        const rest = [...device.keychain.values()].map(item => item.data.toString())
        const all = [...rest, ...[...device.preferences.values()].map(item => item.text)].join('')
        expect(all).toContain(found.slice(0, 3))
        expect(all).not.toContain(found.startsWith('old') ? 'newnew' : 'oldold')
      }
    })
  })
}
