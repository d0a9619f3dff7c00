import { inspect } from 'node:util'
import type { Stage } from './commands.ts'
import { familyNow, parseStored } from './invariants.ts'
import { key } from './storage.ts'
import type { Context, World } from './world.ts'

const boundMs = 300_000
const minIntervalMs = 5000

/** The end of a run: all is healed, everybody wakes, and what should work does. */
export async function checkEnd(stage: Stage): Promise<void> {
  const { world, judge, network } = stage
  world.isEnding = true
  world.isOffline = false
  network.tokenFaults.length = 0
  network.apiFaults.length = 0
  for (const realm of world.realms) {
    realm.storageFault = undefined
    await stage.revive(realm)
  }
  await settle(stage)
  // Past every pause, and whatever could not be saved is tried again.
  world.timeMs += 3_700_000
  await stage.wakeAll()
  await settle(stage)
  const alive = world.contexts.filter(({ realm, isDisposed }) => !realm.isDead && !isDisposed)
  for (const context of alive) {
    await world.act(context.realm, () => void stage.request(context, 1))
    await settle(stage)
    // Another context's renewal may have ended a young token, whose 401 is the server's answer: the next call renews.
    if (statusOf(world, context) === 200) continue
    world.timeMs += minIntervalMs
    await world.act(context.realm, () => void stage.request(context, 1))
    await settle(stage)
  }
  if (world.violation) return
  for (const context of alive) {
    const call = lastCallOf(world, context)
    const status = statusOf(world, context)
    const family = stage.servers.families.get(call?.family ?? '')
    if (status === 200 || !family || family.isRevoked || judge.revokedByClient.has(family.name)) continue
    if (familyNow(context) !== family.name && call?.family !== family.name) continue
    if (!isHeld(stage, context, family.refresh) || judge.isMeant(family.name)) continue
    if (judge.signedOut.has(family.name) || judge.replaced.has(family.name) || judge.corruptions || judge.evictions)
      continue
    // Of two sign-ins at once one wins.
    const stored = parseStored(stage.storages.itemsOf(context.realm).get(key))
    if (stored && judge.familyOf(stored) !== family.name) continue
    world.violate(3, `${context.name} can't use ${family.name}, which lives: ${status ?? String(call?.error)}`)
  }
  for (const { name, session } of alive) judge.checkLeak(`the session of ${name}`, inspect(session, { depth: 8 }))
  checkStored(stage)
}

const lastCallOf = (world: World, context: Context) => world.calls.filter(one => one.context === context).at(-1)
const statusOf = (world: World, context: Context) =>
  (lastCallOf(world, context)?.result as Response | undefined)?.status

function isHeld({ judge, storages }: Stage, context: Context, refresh: string): boolean {
  const stored = parseStored(storages.itemsOf(context.realm).get(key))
  return stored?.tokens?.refreshToken === refresh || judge.receivers.get(refresh)?.has(context) === true
}

/** What a reload would find. */
function checkStored({ world, judge, servers, storages }: Stage): void {
  if (['tab', 'memory'].includes(world.setting.storage)) return
  const text = storages.shared.get(key)
  const stored = parseStored(text)
  const found = stored?.tokens && judge.familyOf(stored)
  if (
    found &&
    !stored.refused &&
    !(judge.corruptions + judge.evictions + judge.removals) &&
    [...(judge.signedOut.get(found) ?? [])].some(one => !one.realm.isDead && !one.isDisposed)
  ) {
    const isForgotten = [...(judge.signedOut.get(found) ?? [])].every(one => one.realm.isDead || !one.ended.has(found))
    if (!isForgotten) world.violate(5, `${found} is stored, though somebody signed out of it`)
  }
  const last = servers.families.get([...judge.begun].at(-1) ?? '')
  if (!last || last.isRevoked || last.refusals || judge.signedOut.size || judge.corruptions || judge.evictions) return
  if (judge.begun.size > 1 || judge.isMeant(last.name)) return
  const isAround =
    judge.everStored.has(last.refresh) ||
    [...(judge.receivers.get(last.refresh) ?? [])].some(one => !one.realm.isDead && !one.isDisposed)
  if (isAround && stored?.tokens?.refreshToken !== last.refresh)
    world.violate(
      3,
      `${last.refresh} of ${last.name} should be stored; there is ${stored?.tokens?.refreshToken ?? text}`,
    )
}

const restMs = 120_000

/** Lets everything come to rest, within the bound of every promise (4). */
async function settle({ world }: Stage): Promise<void> {
  const startedAtMs = world.timeMs
  while (!world.violation) {
    const call = world.contexts.flatMap(({ pending, realm }) => (realm.isDead ? [] : [...pending]))[0]
    const timer = world.timers.next(realm => !realm?.isFrozen)
    if (!call && !world.hasTasks && (!timer || timer.dueMs > startedAtMs + restMs)) return
    if (call && world.timeMs - startedAtMs > boundMs)
      return world.violate(4, `call ${call.number} (${call.what}) takes longer than ${boundMs} ms`)
    if (!(await world.step()) && call) return world.violate(4, `call ${call.number} (${call.what}) never settles`)
  }
}
