import { spawn } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A deliberate fault: texts of the engine, each of which must stand there exactly once, and what takes their place. */
interface Fault {
  readonly what: string
  readonly patches: readonly { readonly file: string; readonly from: string; readonly to: string }[]
}

const one = (what: string, file: string, from: string, to: string): Fault => ({ what, patches: [{ file, from, to }] })
const renewal = 'engine/renewal.ts'
const manager = 'engine/token-manager.ts'
const access = 'engine/access.ts'
const authFetch = 'engine/auth-fetch.ts'
const exchange = 'engine/exchange.ts'
const identity = 'engine/identity.ts'
const commitStep = 'const { update, isCurrent } = await advance(flight, base, make, announce)'
const record = 'values/record.ts'
const reread = '(!ended.aborted || isTombstone(reading.record)))\n      manager.meet(reading.record, announce)'

export const faults: readonly Fault[] = [
  one('the record is not adopted under the lock', renewal, reread, 'ended.aborted)\n      return signedOutFailure()'),
  one(
    'the attempt is not written ahead',
    renewal,
    '{ ...verdict.record, attempt: { by: options.self, atMs: clock.now() } }',
    '{ ...verdict.record }',
  ),
  one(
    'what can not be saved is spent',
    renewal,
    'return isOnlyHere && !options.isReadOnly ? held : failStorage(cause, announce)',
    'return held',
  ),
  one('a renewal in flight is not joined', renewal, 'if (current?.id === record.id) {', 'if (current?.id === "") {'),
  one('the flight is cleared before the pair is written', renewal, commitStep, `flight.land()\n    ${commitStep}`),
  one('the others are told before the write', renewal, commitStep, `options.publish(make())\n    ${commitStep}`),
  one(
    'an answer is committed whatever was rotated meanwhile',
    renewal,
    'record && isSamePair(record, base.record) ? record : undefined',
    'record ? record : undefined',
  ),
  one('a time-out leaves its waiters to the end of the flight', renewal, 'flight.settle(backOff({', 'void (backOff({'),
  one(
    'no lock is taken',
    'session/wiring.ts',
    "if (this.scope === 'context' && !this.lock) return undefined",
    'if (id) return undefined',
  ),
  one(
    'a generation as high as ours is stale',
    manager,
    "if (order < 0) return outrank(record, 'stale')",
    "if (order <= 0) return outrank(record, 'stale')",
  ),
  one('a lower generation is adopted', manager, "if (order < 0) return outrank(record, 'stale')", ''),
  one(
    'a sign-in that ended may come back',
    manager,
    "if (isSignedOut(record.id)) return outrank(record, 'undead')",
    '',
  ),
  one(
    'of two sign-ins the higher generation counts',
    record,
    'const isKnown = a.id !== b.id && ',
    'const isKnown = false && ',
  ),
  one(
    'a sign-in is not placed above what it finds',
    identity,
    'Math.max(record.generation, generation + 1)',
    'record.generation',
  ),
  one(
    'a sign-out before the first read is for whatever comes',
    manager,
    "why === 'requested') blindAtMs = beginsAtMs()",
    "why === 'requested') blindAtMs = Number.POSITIVE_INFINITY",
  ),
  one(
    'a sign-out before the first read is forgotten',
    manager,
    "why === 'requested') blindAtMs = beginsAtMs()",
    "why === 'requested') blindAtMs = 0",
  ),
  one(
    'a tombstone counts by its generation only',
    manager,
    "if (mine?.id !== record.id && order <= 0) return outrank(record, 'stale')",
    "if (order <= 0) return outrank(record, 'stale')",
  ),
  one(
    'the generation does not grow',
    renewal,
    'generation: manager.seen + 1,\n    })',
    'generation: base.record.generation,\n    })',
  ),
  {
    what: 'a request is sent again under another sign-in',
    patches: [
      {
        file: exchange,
        from: 'if (current?.record.id !== id) return giveUp(response)',
        to: 'if (!current) return giveUp(response)',
      },
      {
        file: exchange,
        from: 'if (next?.record.id !== id) return giveUp(response)',
        to: 'if (!next) return giveUp(response)',
      },
    ],
  },
  {
    what: 'a call belongs to whoever is signed in when it is sent',
    patches: [
      { file: access, from: 'if (isReplaced) throw manager.signedOutError()', to: '' },
      { file: access, from: 'if (now?.record.id !== record.id) {', to: 'if (!now) {' },
    ],
  },
  {
    what: 'a late answer of the same sign-in is revoked',
    patches: [
      {
        file: renewal,
        from: 'if (!isCurrent) return adopted\n    failures = 0',
        to: 'if (!isCurrent) options.revokeLate(flight.id, tokens)\n    failures = 0',
      },
      {
        file: 'session/sign-ins.ts',
        from: 'if (session.start().manager.isSignedOut(id) && !session.unrevoked?.has(id)) void revoke(session, tokens)',
        to: 'void revoke(session, tokens)',
      },
    ],
  },
  one('a request is sent as often as it is refused', exchange, 'request.isReplaced = true', ''),
  one(
    'every failure is a refusal',
    'engine/verdict.ts',
    'if (isRefused(error) || ',
    'if (!!error || isRefused(error) || ',
  ),
  one('a wake does not read', access, 'mustRead = true', 'mustRead = false'),
  one('an expired token is sent', access, 'if (remaining <= 0) return undefined', ''),
  one(
    'the sign-out does not reach who waits',
    'engine/flight.ts',
    'if (isOwn) return\n      settle(why)',
    'if (isOwn) return',
  ),
  one('news hold the record', 'engine/contexts.ts', 'say(what, record)', 'say(what, record, undefined, record)'),
  one('the token goes to every origin', authFetch, 'if (isResource(url)) {', 'if (url) {'),
  {
    what: 'the epoch is not compared where a sign-in or a sign-out is written',
    patches: [
      { file: identity, from: 'if (manager.epoch !== epoch) return\n', to: '' },
      {
        file: identity,
        from: 'if (manager.epoch !== epoch) return undefined',
        to: '',
      },
      {
        file: identity,
        from: "if (manager.epoch !== epoch || reading.what === 'corrupt') return undefined",
        to: "if (reading.what === 'corrupt') return undefined",
      },
    ],
  },
  {
    what: 'a refused refresh token is kept and sent',
    patches: [
      {
        file: renewal,
        from: 'const { refreshToken: _dead, ...tokens } = record.tokens',
        to: 'const { ...tokens } = record.tokens',
      },
      { file: 'session/wiring.ts', from: ' && !this.manager.held?.record.refused', to: '' },
    ],
  },
  one('a sign-out leaves no tombstone', identity, 'return ended && tombstoneOf(ended)', 'return undefined'),
  one(
    'a stale 401 renews',
    exchange,
    'const isStale = current.record.tokens.accessToken !== tokens.accessToken',
    'const isStale = false',
  ),
  one('a pair that came too late is forgotten', renewal, 'late = { base, subject, answer }\n', 'return\n'),
  one(
    'a record handed over is saved over a damaged one',
    identity,
    "if (manager.held?.record !== record || reading.what === 'corrupt') return undefined",
    'if (manager.held?.record !== record) return undefined',
  ),
  one(
    'what others brought is sent though it has expired',
    access,
    "if (request.isExpired && !isFailure(outcome) && (outcome.how === 'adopted' || isOthers)) {",
    'if (!outcome) {',
  ),
  {
    what: 'one caller that leaves ends the renewal of all',
    patches: [
      {
        file: access,
        from: 'const outcome = await abortable(this.renew(record.tokens.accessToken, remaining <= 0), signal)',
        to: `const joint = options.renewal.renew as (...all: unknown[]) => Promise<Outcome>
    const outcome = await abortable(joint(record.tokens.accessToken, remaining <= 0, undefined, signal), signal)`,
      },
      {
        file: renewal,
        from: 'function renew(rejected: string, isUrgent: boolean, subject = own): Promise<Outcome> {',
        to: 'function renew(rejected: string, isUrgent: boolean, subject = own, signal?: AbortSignal): Promise<Outcome> {',
      },
      {
        file: renewal,
        from: 'flight.isUrgent = isUrgent\n',
        to: "flight.isUrgent = isUrgent\n    signal?.addEventListener('abort', () => flight.end(signedOutFailure(), false))\n",
      },
    ],
  },
  one(
    'a fresh token is looked up in the storage',
    access,
    'if (remaining > held.life.aheadMs) return held',
    'void this.options.identity.read(false)\n    if (remaining > held.life.aheadMs) return held',
  ),
]

const root = join(import.meta.dirname, '../..')

/** A copy of the sources with one fault in it. */
async function apply(fault: Fault): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-fault-'))
  await cp(join(root, 'src'), join(folder, 'src'), { recursive: true })
  await cp(join(root, 'test/races'), join(folder, 'test/races'), { recursive: true })
  await cp(join(root, 'package.json'), join(folder, 'package.json'))
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  for (const { file, from, to } of fault.patches) {
    const path = join(folder, 'src', file)
    const parts = (await readFile(path, 'utf8')).split(from)
    if (parts.length !== 2)
      throw new Error(
        `The patch “${fault.what}” no longer applies: src/${file} has ${parts.length - 1} times\n  ${from}`,
      )
    await writeFile(path, parts.join(to))
  }
  return folder
}

function run(folder: string, runs: number, seed: number): Promise<{ code: number | null; text: string }> {
  const script = join(folder, 'test/races/run.ts')
  const child = spawn(process.execPath, [script, '--quick', '--runs', `${runs}`, '--seed', `${seed}`], { cwd: folder })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', data => (text += data))
  // A fault that makes the engine spin is found too.
  const patience = setTimeout(() => child.kill('SIGKILL'), 120_000)
  return new Promise(resolve =>
    child.on('exit', code => {
      clearTimeout(patience)
      resolve({ code, text })
    }),
  )
}

const runs = 5000
const seed = Number(process.argv[2] ?? 1)
const wanted = process.argv[3]
// What a fault is found by must not be there without it.
const sane = await apply({ what: 'none', patches: [] })
const without = await run(sane, runs, seed)
await rm(sane, { recursive: true, force: true })
if (without.code !== 0) throw new Error(`Without a fault, seed ${seed} fails too:\n${without.text}`)

let found = 0
let tried = 0
const errors: string[] = []
for (const fault of faults) {
  if (wanted && !fault.what.includes(wanted)) continue
  tried++
  let folder: string | undefined
  try {
    folder = await apply(fault)
    const { code, text } = await run(folder, runs, seed)
    const why = code === null ? 'it spins' : /^(Invariant \d+: .*|\w*Error: .*|Too seldom:.*)$/m.exec(text)?.[1]
    const after = /^(\d+) runs/m.exec(text)?.[1]
    if (code !== 0) found++
    console.log(
      `${code === 0 ? 'MISSED' : 'found '}  ${fault.what}${code === 0 ? '' : ` — run ${after}: ${why?.replaceAll('tok3n-', '')}`}`,
    )
  } catch (error) {
    errors.push((error as Error).message)
    console.log(`ERROR   ${(error as Error).message}`)
  } finally {
    if (folder) await rm(folder, { recursive: true, force: true })
  }
}
console.log(`\n${found} of ${tried} faults found, ${errors.length} patches that no longer apply`)
process.exitCode = found === tried && !errors.length ? 0 : 1
