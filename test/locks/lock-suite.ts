import { describe, expect, it } from 'vitest'
import type { Grip, Lock } from '../../src/index.ts'

/** A callback that holds the lock until it is told to end, and a promise of its start. */
export function holder(log: string[] = [], name = 'holder') {
  let begin: (grip: Grip | undefined) => void = () => undefined
  let release: () => void = () => undefined
  const begun = new Promise<Grip | undefined>(resolve => {
    begin = resolve
  })
  const over = new Promise<void>(resolve => {
    release = resolve
  })
  return {
    begun,
    release,
    async hold(grip?: Grip) {
      log.push(`${name} begins`)
      begin(grip)
      await over
      log.push(`${name} ends`)
    },
  }
}

let count = 0
const uniqueName = () => `latchkey:lock-suite-${++count}`

/** What every `Lock` does. */
export function describeLock(name: string, make: () => Lock | Promise<Lock>): void {
  describe(`${name} is a lock`, () => {
    it('lets one in at a time, in the order they came', async () => {
      const lock = await make()
      const key = uniqueName()
      const log: string[] = []
      let inside = 0
      let most = 0
      await Promise.all(
        Array.from({ length: 10 }, (_, index) =>
          lock.request(key, {}, async () => {
            most = Math.max(most, ++inside)
            await Promise.resolve()
            log.push(String(index))
            inside--
          }),
        ),
      )
      expect(most).toBe(1)
      expect(log).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
    })

    it('settles a request only after its callback has', async () => {
      const lock = await make()
      const log: string[] = []
      const first = holder(log, 'callback')
      const request = lock.request(uniqueName(), {}, first.hold).then(() => log.push('request settled'))
      await first.begun
      expect(log).toEqual(['callback begins'])
      first.release()
      await request
      expect(log).toEqual(['callback begins', 'callback ends', 'request settled'])
    })

    it('does not let one name wait for another', async () => {
      const lock = await make()
      const first = holder()
      const held = lock.request(uniqueName(), {}, first.hold)
      await first.begun
      let ran = false
      await lock.request(uniqueName(), {}, async () => {
        ran = true
      })
      expect(ran).toBe(true)
      first.release()
      await held
    })

    it('rejects with what the callback threw, and is free again', async () => {
      const lock = await make()
      const key = uniqueName()
      const failure = new Error('from the callback')
      await expect(lock.request(key, {}, () => Promise.reject(failure))).rejects.toBe(failure)
      let ran = false
      await lock.request(key, {}, async () => {
        ran = true
      })
      expect(ran).toBe(true)
    })

    it('lets a signal leave the queue: the request rejects, its callback never runs, the next comes in turn', async () => {
      const lock = await make()
      const key = uniqueName()
      const log: string[] = []
      const first = holder(log, 'first')
      const held = lock.request(key, {}, first.hold)
      await first.begun
      const impatient = new AbortController()
      const second = lock.request(key, { signal: impatient.signal }, holder(log, 'second').hold)
      const third = lock.request(key, {}, async () => void log.push('third'))
      impatient.abort()
      await expect(second).rejects.toMatchObject({ name: 'AbortError' })
      first.release()
      await Promise.all([held, third])
      expect(log).toEqual(['first begins', 'first ends', 'third'])
    })

    it('rejects a request whose signal is aborted already, and stays free', async () => {
      const lock = await make()
      const key = uniqueName()
      const log: string[] = []
      const signal = AbortSignal.abort()
      await expect(lock.request(key, { signal }, holder(log).hold)).rejects.toMatchObject({ name: 'AbortError' })
      await lock.request(key, {}, async () => void log.push('free'))
      expect(log).toEqual(['free'])
    })

    it('does not end a hold by the signal that asked for it', async () => {
      const lock = await make()
      const key = uniqueName()
      const log: string[] = []
      const first = holder(log, 'first')
      const controller = new AbortController()
      const held = lock.request(key, { signal: controller.signal }, first.hold)
      await first.begun
      const second = lock.request(key, {}, async () => void log.push('second'))
      controller.abort()
      await new Promise(resolve => setImmediate(resolve))
      expect(log).toEqual(['first begins'])
      first.release()
      await Promise.all([held, second])
      expect(log).toEqual(['first begins', 'first ends', 'second'])
    })

    it('lets steal go ahead of the holder and the queue, and those who wait come after the thief', async () => {
      const lock = await make()
      const key = uniqueName()
      const log: string[] = []
      const victim = holder(log, 'victim')
      // The Web Locks API rejects what was stolen; a lock may also let it settle by itself. Nobody hangs.
      const stolen = lock.request(key, {}, victim.hold).then(
        () => undefined,
        error => error,
      )
      await victim.begun
      const waiting = lock.request(key, {}, async () => void log.push('waiter'))
      const thief = holder(log, 'thief')
      const theft = lock.request(key, { steal: true }, thief.hold)
      await thief.begun
      victim.release()
      const error = await stolen
      if (error !== undefined) expect(error).toMatchObject({ name: 'AbortError' })
      await new Promise(resolve => setImmediate(resolve))
      expect(log).not.toContain('waiter')
      thief.release()
      await Promise.all([theft, waiting])
      expect(log.filter(line => !line.startsWith('victim'))).toEqual(['thief begins', 'thief ends', 'waiter'])
      await lock.request(key, {}, async () => void log.push('free'))
      expect(log.at(-1)).toBe('free')
    })
  })
}
