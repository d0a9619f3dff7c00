import type { Channel } from '../../src/index.ts'
import type { Context, World } from './world.ts'

type Listener = (event: { data: unknown }) => void

export interface Channels {
  open(context: () => Context): Channel
}

/** A broadcast channel: in order for each pair, at its own speed, held back while a page is frozen. */
export function createChannels(
  world: World,
  onPost: (from: Context, message: Record<string, unknown>) => void,
  onDelivery: (to: Context, message: Record<string, unknown>) => void,
): Channels {
  const ends = new Set<{ context: () => Context; listeners: Set<Listener> }>()
  return {
    open(context) {
      const end = { context, listeners: new Set<Listener>() }
      ends.add(end)
      return {
        postMessage(data) {
          const from = context()
          if (from.realm.isDead) return
          const text = JSON.stringify(data)
          onPost(from, JSON.parse(text))
          if (!world.setting.channel) return
          for (const other of ends) {
            const to = other.context()
            if (other === end || to.realm.isDead) continue
            world.later(
              to.realm,
              `message ${from.name} → ${to.name}`,
              () => {
                if (!ends.has(other)) return
                world.note(to, () => `hears ${text}`)
                onDelivery(to, JSON.parse(text))
                for (const listener of other.listeners) listener({ data: JSON.parse(text) })
              },
              { lane: `${from.name}→${to.name}` },
            )
          }
        },
        addEventListener: (_type, listener) => void end.listeners.add(listener),
        removeEventListener: (_type, listener) => void end.listeners.delete(listener),
        close: () => void ends.delete(end),
      }
    },
  }
}
