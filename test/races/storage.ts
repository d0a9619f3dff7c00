import type { TokenStorage } from '../../src/index.ts'
import type { Context, Realm, World } from './world.ts'

export const key = 'latchkey:races'

export interface Storages {
  /** Where others of the same origin look. */
  readonly shared: Map<string, string>
  itemsOf(realm: Realm): Map<string, string>
  of(context: () => Context): TokenStorage
  /** Somebody else changed it: who watches is told. */
  changed(by: Realm | undefined): void
}

export interface StorageEvents {
  onRead(context: Context, text: string | undefined, isInTime: boolean): void
  /** A write is asked for. */
  onWriteBegins(context: Context, text: string): void
  /** A write takes effect that was given up. */
  onLateWrite(): void
  /** A write took effect. `readText`: what its context had read last when it asked for it. */
  onWrite(context: Context, before: string | undefined, text: string | undefined, readText: string | undefined): void
  /** The context hears in time that it is saved. */
  onWritten(context: Context, text: string): void
  onWriteFailed(context: Context, text: string): void
}

export const patienceMs = 5000

/** Storages of each kind. Asynchronous ones take effect at one moment and answer at another, and either may never come. */
export function createStorages(world: World, events: StorageEvents): Storages {
  const { storage: kind, watch } = world.setting
  const shared = new Map<string, string>()
  const watchers = new Set<{ context: () => Context; listener: () => void }>()
  const isShared = kind !== 'tab' && kind !== 'memory'
  const isSync = kind === 'sync' || kind === 'tab'
  const itemsOf = (realm: Realm) => (isShared ? shared : realm.items)

  function changed(by: Realm | undefined): void {
    if (!watch || !isShared) return
    for (const watcher of watchers) {
      const { realm } = watcher.context()
      if (realm === by || realm.isDead) continue
      world.later(realm, `storage event → ${watcher.context().name}`, () => {
        if (watchers.has(watcher)) watcher.listener()
      })
    }
  }

  function fault(realm: Realm, what: 'read' | 'write'): 'fail' | 'hang' | undefined {
    const current = realm.storageFault
    if (!current || (current.what !== what && current.what !== 'hang' && current.what !== 'both')) return undefined
    if (--current.left <= 0) realm.storageFault = undefined
    world.coverage.reach(what === 'read' ? 'reads that failed' : 'writes that failed')
    return current.what === 'hang' && !isSync ? 'hang' : 'fail'
  }

  /** `effect` happens in the storage, `deliver` is when the context hears of it. */
  function operate<T>(
    context: Context,
    what: 'read' | 'write',
    effect: () => T,
    deliver: (value: T, isInTime: boolean) => void,
    fail: () => void,
  ): T | Promise<T> {
    const { realm } = context
    context.ops++
    const failing = fault(realm, what)
    const error = () => {
      context.hasTrouble = true
      fail()
      world.note(context, () => `${what} fails`)
      return Object.assign(new Error('The storage is locked.'), { name: 'StorageFault' })
    }
    if (isSync) {
      if (what === 'read') context.mustRead = false
      if (failing) throw error()
      const value = effect()
      deliver(value, true)
      return value
    }
    const startedAtMs = world.timeMs
    if (what === 'read') context.mustRead = false
    const operation = { atMs: startedAtMs }
    context.open.add(operation)
    return world.promise<T>(realm, (resolve, reject) => {
      if (failing === 'hang') {
        // It answers long after everybody gave it up. One that never does blocks every later write of its context: still open.
        error()
        world.timers.add(realm, world.timeMs + 20_000, () => reject(error()))
        return
      }
      if (failing) return world.later(realm, `${what} of ${context.name} fails`, () => reject(error()))
      world.later(
        realm,
        `${what} of ${context.name} takes effect`,
        () => {
          if (realm.isDead && what === 'read') return
          const value = effect()
          if (realm.isDead) return
          world.later(realm, `${what} of ${context.name} answers`, () => {
            context.open.delete(operation)
            if (world.timeMs - startedAtMs >= patienceMs) context.hasTrouble = true
            deliver(value, world.timeMs - startedAtMs < patienceMs)
            resolve(value)
          })
        },
        { isOutside: true, lane: `storage ${realm.index}` },
      )
    })
  }

  return {
    shared,
    itemsOf,
    changed,
    of(context) {
      const put = (text: string, expected?: { text: string | undefined }) => {
        const me = context()
        events.onWriteBegins(me, text)
        const askedAtMs = world.timeMs
        const { readText } = me
        return operate<boolean>(
          me,
          'write',
          () => {
            const items = itemsOf(me.realm)
            const before = items.get(key)
            if (world.timeMs - askedAtMs >= patienceMs) events.onLateWrite()
            if (expected && before !== expected.text) {
              world.note(me, () => 'write is fenced off')
              world.coverage.reach('fenced writes')
              return false
            }
            items.set(key, text)
            world.note(me, () => `wrote ${text}`)
            events.onWrite(me, before, text, readText)
            changed(me.realm)
            return true
          },
          (isWritten, isInTime) => {
            if (isWritten && isInTime) events.onWritten(me, text)
          },
          () => {
            events.onWriteFailed(me, text)
          },
        )
      }
      return {
        scope: kind === 'tab' ? 'tab' : kind === 'memory' ? 'context' : 'shared',
        getItem() {
          const me = context()
          return operate<string | undefined>(
            me,
            'read',
            () => itemsOf(me.realm).get(key),
            (text, isInTime) => {
              world.note(me, () => `read ${text}${isInTime ? '' : ' (too late)'}`)
              events.onRead(me, text, isInTime)
            },
            () => {},
          )
        },
        setItem: (_key, text) => put(text) as never,
        removeItem() {
          const me = context()
          return operate<void>(
            me,
            'write',
            () => {
              const before = itemsOf(me.realm).get(key)
              itemsOf(me.realm).delete(key)
              world.note(me, () => 'removed the item')
              events.onWrite(me, before, undefined, me.readText)
              changed(me.realm)
            },
            () => {},
            () => {},
          )
        },
        ...(kind === 'cas' && {
          replaceItem: (_key: string, expected: string | undefined, text: string) => put(text, { text: expected }),
        }),
        ...(isShared && {
          watch(_key: string, listener: () => void) {
            const watcher = { context, listener }
            watchers.add(watcher)
            return () => void watchers.delete(watcher)
          },
        }),
      }
    },
  }
}
