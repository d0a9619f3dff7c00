import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import * as latchkey from 'latchkey'
import ts from 'typescript'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createServer } from '../../demo/server/server.ts'
import { root } from './packed.ts'
import { sizeOf } from './size.ts'

const entry = join(root, 'src/index.ts')
const options = compilerOptions()
const read = (name: string) => readFileSync(join(root, name), 'utf8')
const readme = read('README.md')

describe('the code of the README', () => {
  test('compiles, each block by itself', { timeout: 60_000 }, () => {
    expect(blocksOf(readme).length).toBeGreaterThan(2)
    expect(complaintsOfTypes(readme)).toEqual([])
  })

  test('would not compile with a member that does not exist', { timeout: 60_000 }, () => {
    expect(complaintsOfTypes(readme.replaceAll('await session.renew()', 'await session.refresh()'))).toEqual([
      expect.stringMatching(/'refresh' does not exist/),
    ])
  })

  test('signs in and gets a 200 from the demo server, by its first block as it stands there', async () => {
    const { origin, stats } = await startServer()
    expect(await runFirst(readme, origin)).toBe('200')
    expect(stats()).toMatchObject({ signIns: 1, collects: 1 })
  })

  test('would be seen to fail, if it did', async () => {
    const { origin } = await startServer()
    await expect(runFirst(readme.replace('a-key-under', 'not-under'), origin)).rejects.toThrow(/sign_in_failed/)
  })
})

describe('the README names', () => {
  test('every value that the package exports', () => {
    expect(Object.keys(latchkey).length).toBeGreaterThan(8)
    expect(missing(Object.keys(latchkey), readme)).toEqual([])
    expect(missing(['createSession'], readme.replaceAll('createSession', ''))).toEqual(['createSession'])
  })

  test('every member of a session, in one block', () => {
    const [block = ''] = blocksOf(readme).filter(code => code.includes('session.ready'))
    const members = membersOf('Session').map(name => `session.${name}`)
    expect(members).toContain('session.fetch')
    expect(missing(members, block)).toEqual([])
    expect(missing(members, block.replaceAll('session.adopt', ''))).toEqual(['session.adopt'])
  })

  test('exactly the codes of the errors, in their table', () => {
    const codes = membersOf('SessionErrorCode')
    expect(codes).toContain('unreachable')
    expect(firstCells(readme, 'Errors')).toEqual(codes)
    expect(firstCells(readme.replace('| `disposed` ', '| `gone` '), 'Errors')).not.toEqual(codes)
  })

  test('exactly the events, in their table', () => {
    const events = membersOf('SessionEvents')
    expect(events).toContain('renewed')
    expect(firstCells(readme, 'Events')).toEqual(events)
    expect(firstCells(readme.replace('| `degraded` ', '| `worse` '), 'Events')).not.toEqual(events)
  })

  test('the sizes that are measured, within 3 %', async () => {
    expect(await wrongSizes(readme)).toEqual([])
    expect(await wrongSizes(readme.replace(/alone is [\d.]+/, 'alone is 6.5'))).toHaveLength(1)
  })
})

describe('what is linked or named exists', () => {
  test.each(['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md'])('in %s', name => {
    expect(deadEnds(read(name))).toEqual([])
  })

  test('and a dead end is found', () => {
    const text =
      '# A title\n[a](#a-title) [b](#b) [c](README.md) [d](nowhere.md) `src/index.ts` `test/x.test.ts` [e](https://example.com)'
    expect(deadEnds(text)).toEqual(['#b', 'nowhere.md', 'test/x.test.ts'])
  })
})

function blocksOf(text: string): string[] {
  return [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = '']) => code)
}

/** Each block is a module of its own. */
function complaintsOfTypes(text: string): string[] {
  const files = new Map(blocksOf(text).map((code, index) => [join(root, `readme-${index}.ts`), `${code}export {}\n`]))
  const host = ts.createCompilerHost(options)
  const { getSourceFile, fileExists } = host
  host.fileExists = file => files.has(file) || fileExists(file)
  host.getSourceFile = (file, ...rest) => {
    const code = files.get(file)
    return code === undefined ? getSourceFile(file, ...rest) : ts.createSourceFile(file, code, ts.ScriptTarget.ES2022)
  }
  const program = ts.createProgram([...files.keys()], options, host)
  return [...files.keys()].flatMap(file =>
    ts
      .getPreEmitDiagnostics(program, program.getSourceFile(file))
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n')),
  )
}

/** Runs the first block in a Node of its own, with the server's origin and the sources in the place of what it names. */
async function runFirst(text: string, origin: string): Promise<string> {
  const code = (blocksOf(text)[0] ?? '')
    .replaceAll('https://api.example.com', origin)
    .replaceAll(`'latchkey'`, JSON.stringify(new URL('../../src/index.ts', import.meta.url).href))
  const script = `${code}\nconsole.log(response.status)`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], {
    timeout: 20_000,
  })
  return stdout.trim()
}

async function startServer() {
  const server = await createServer({ seed: true })
  onTestFinished(() => server.close())
  return server
}

function missing(names: readonly string[], text: string): string[] {
  return names.filter(name => !new RegExp(`\\b${name}\\b`).test(text))
}

/** The names that an exported type is made of: its literals, or its properties. */
function membersOf(type: string): string[] {
  const program = ts.createProgram([entry], options)
  const checker = program.getTypeChecker()
  const module = checker.getSymbolAtLocation(program.getSourceFile(entry)!)!
  const found = checker.getExportsOfModule(module).find(({ name }) => name === type)!
  const declared = checker.getDeclaredTypeOfSymbol(
    found.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(found) : found,
  )
  const literals = declared.isUnion() ? declared.types.filter(part => part.isStringLiteral()) : []
  const names = literals.length
    ? literals.map(({ value }) => value)
    : checker.getPropertiesOfType(declared).map(({ name }) => name)
  // Symbols have names that no source could write.
  return names.filter(name => /^[a-z]/i.test(name)).sort()
}

/** What stands in backticks in the first cells of a section's table. */
function firstCells(text: string, title: string): string[] {
  const section = text.split(`\n## ${title}\n`)[1]?.split('\n## ')[0] ?? ''
  return [...section.matchAll(/^\| `([^`]+)`/gm)].map(([, name = '']) => name).sort()
}

async function wrongSizes(text: string): Promise<string[]> {
  const [, alone, both] = /`createSession` alone is ([\d.]+) kB gzip, with `passwordGrant` ([\d.]+) kB/.exec(text) ?? []
  const stated = [
    ['createSession', alone],
    ['createSession, passwordGrant', both],
  ] as const
  const checked = stated.map(async ([names, said]) => {
    const isKB = (await sizeOf(names)).gzip / 1000
    return Math.abs(Number(said) / isKB - 1) <= 0.03 ? [] : [`${names} is ${isKB.toFixed(1)} kB and not ${said}`]
  })
  return (await Promise.all(checked)).flat()
}

/** Links without a target, and files in backticks that are not there. */
function deadEnds(text: string): string[] {
  const prose = text.replace(/^```.*?^```$/gms, '')
  const slugs = [...prose.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) => slugOf(title))
  const links = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link)
  const files = [...prose.matchAll(/`((?:src|test|demo)\/[\w./-]+\.\w+)`/g)].map(([, file = '']) => file)
  return [...links.filter(link => !/^https?:/.test(link)), ...files].filter(target => {
    const [file = '', fragment] = target.split('#')
    if (file) return !existsSync(join(root, file))
    return !slugs.includes(fragment ?? '')
  })
}

const slugOf = (title: string) =>
  title
    .toLowerCase()
    .replace(/[^\w -]/g, '')
    .replaceAll(' ', '-')

function compilerOptions(): ts.CompilerOptions {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
  const { options: given } = ts.parseJsonConfigFileContent(config, ts.sys, root)
  return { ...given, noUnusedLocals: false }
}
