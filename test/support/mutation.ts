import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'

/**
 * `npm run mutation`: Stryker over values, engine and session, in two passes over one report. The first runs each mutant with the tests that
 * reach it. What a module does as it loads ran before any test did: such a mutant was left out, or only seemed to survive. The second pass
 * runs those alone, each from the first import on and with all tests.
 * `--again` goes on from the last report; every other argument is Stryker's (`--mutate src/values/**`).
 */
const report = 'reports/mutation-incremental.json'
const given = process.argv.slice(2)
const args = given.filter(one => one !== '--again')
if (args.length === given.length) rmSync(report, { force: true })

run([...args, '--ignoreStatic'])
forgetStatic()
run(args)

function run(more: string[]): void {
  const { status } = spawnSync('npx', ['stryker', 'run', ...more], { stdio: 'inherit' })
  if (status) process.exit(status)
}

function forgetStatic(): void {
  if (!existsSync(report)) throw new Error(`Stryker wrote no ${report}.`)
  const known = JSON.parse(readFileSync(report, 'utf8')) as {
    files: Record<string, { mutants: { status: string; static?: boolean }[] }>
  }
  for (const file of Object.values(known.files)) {
    // What was taken over from an earlier report does not say whether it is static.
    const isKept = ({ status, static: isStatic }: (typeof file.mutants)[number]) =>
      isStatic === false || !['Survived', 'Ignored'].includes(status)
    file.mutants = file.mutants.filter(isKept)
  }
  writeFileSync(report, JSON.stringify(known))
}
