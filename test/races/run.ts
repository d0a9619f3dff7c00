import { pathToFileURL } from 'node:url'
import fc from 'fast-check'
import { createRng, drain, seize } from './clock.ts'
import { type Command, commandArbitrary, Stage, settingArbitrary } from './commands.ts'
import { Coverage } from './coverage.ts'
import { checkEnd } from './ending.ts'
import { drawTimeline } from './timeline.ts'
import { type Setting, Violation, World } from './world.ts'

export interface Play {
  readonly setting: Setting
  readonly commands: readonly Command[]
}

export const playArbitrary: fc.Arbitrary<Play> = fc.record({
  setting: settingArbitrary,
  commands: fc.array(commandArbitrary, { minLength: 8, maxLength: 45, size: 'max' }),
})

/** Plays one run; throws the first violation. */
export async function play({ setting, commands }: Play, coverage: Coverage, lines?: string[]): Promise<void> {
  const world = new World(setting, coverage, lines)
  const jitter = createRng(commands.length)
  const release = seize(
    world.timers,
    () => world.current,
    () => world.timeMs,
    () => jitter.next(),
  )
  const lost = (error: unknown) =>
    world.violate(10, `an error that nobody can catch: ${(error as Error)?.stack ?? error}`)
  process.prependListener('unhandledRejection', lost)
  try {
    const stage = new Stage(world)
    if (commands.length % 8) await stage.begin()
    for (const command of commands) {
      world.rng = createRng(command.seed)
      await stage.run(command)
      stage.checkNow()
      for (let step = 0; step < command.steps && !world.violation; step++) {
        if (!(await world.step())) break
        stage.checkNow()
      }
      if (world.violation) throw world.violation
    }
    await checkEnd(stage)
    await drain()
    if (world.violation) throw world.violation
  } finally {
    process.off('unhandledRejection', lost)
    release()
  }
}

export interface Report {
  readonly seed: number
  readonly runs: number
  readonly runsPerSecond: number
  readonly coverage: Coverage
  /** The first failure, made small, with what leads there again. */
  readonly failure?: { invariant: number | undefined; message: string; path: string; timeline: string }
}

/** Plays many runs. fast-check draws them and makes the first that fails small. */
export interface SimulateOptions {
  readonly runs: number
  readonly seed: number
  readonly path?: string
  /** Ends at the first failure as it is. */
  readonly isQuick?: boolean
}

export async function simulate({ runs, seed, path, isQuick = false }: SimulateOptions): Promise<Report> {
  const coverage = new Coverage()
  const began = performance.now()
  const property = fc.asyncProperty(playArbitrary, one => play(one, coverage))
  const details = await fc.check(property, {
    numRuns: runs,
    seed,
    endOnFailure: isQuick,
    ...(path !== undefined && { path }),
  })
  const runsPerSecond = Math.round((details.numRuns / (performance.now() - began)) * 1000)
  const report = { seed, runs: details.numRuns, runsPerSecond, coverage }
  if (!details.failed) return report
  const [one] = details.counterexample ?? []
  if (!one) throw new Error('fast-check says that a run failed, and not which.')
  const lines: string[] = []
  let error = details.errorInstance as unknown
  await play(one, new Coverage(), lines).catch(again => {
    error = again
  })
  return {
    ...report,
    failure: {
      invariant: error instanceof Violation ? error.invariant : undefined,
      message: error instanceof Violation ? error.message : String((error as Error)?.stack ?? error),
      path: details.counterexamplePath ?? '',
      timeline: drawTimeline(one.setting, one.commands, lines),
    },
  }
}

export const freshSeed = () => Math.floor(Math.random() * 0x7fffffff)

export function describeReport({ seed, runs, runsPerSecond, coverage, failure }: Report): string {
  const head = `${runs} runs, ${runsPerSecond} per second, seed ${seed}\n${coverage}`
  if (!failure) return head
  const again = `npm run simulate -- --seed ${seed} --path ${failure.path}`
  return `${head}\n\n${failure.timeline}\n\n${failure.message}\nAgain: ${again}`
}

function readArguments(): SimulateOptions {
  const read = (name: string) => {
    const at = process.argv.indexOf(`--${name}`)
    return at < 0 ? undefined : process.argv[at + 1]
  }
  const path = read('path')
  const isQuick = process.argv.includes('--quick')
  return {
    isQuick,
    runs: Number(read('runs') ?? 5000),
    seed: Number(read('seed') ?? freshSeed()),
    ...(path && { path }),
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const options = readArguments()
  const report = await simulate(options)
  const missing = report.failure || options.path ? [] : report.coverage.missing(report.runs)
  console.log(describeReport(report))
  if (missing.length) console.log(`\nToo seldom:\n  ${missing.join('\n  ')}`)
  process.exitCode = report.failure || missing.length ? 1 : 0
}
