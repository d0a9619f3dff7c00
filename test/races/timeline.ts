import type { Command } from './commands.ts'
import type { Setting } from './world.ts'

/** A failed run for people: what was set, and what happened when. */
export function drawTimeline(setting: Setting, commands: readonly Command[], lines: readonly string[]): string {
  const set = Object.entries(setting).map(([name, value]) => `${name}: ${value}`)
  return [`  ${set.join(', ')}`, `  ${commands.length} commands`, '', ...lines].join('\n')
}
