import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import * as source from 'latchkey'
import { publint } from 'publint'
import ts from 'typescript'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Packed, packed, root, run } from './packed.ts'

let tarball: Packed['tarball']
let consumer: Packed['consumer']

beforeAll(async () => {
  ;({ tarball, consumer } = await packed())
}, 120_000)

describe('the tarball', () => {
  test('holds the built files, what a reader needs, and nothing else', async () => {
    const files = (await run('tar', ['-tzf', tarball], root)).trim().split('\n')
    const others = files.filter(file => !/^package\/dist\/[\w.-]+\.(?:js|d\.ts)$/.test(file)).sort()
    expect(others).toEqual([
      'package/CHANGELOG.md',
      'package/LICENSE',
      'package/README.md',
      'package/package.json',
      'package/react-native/package.json',
    ])
    expect(files).toContain('package/dist/index.js')
    expect(files).toContain('package/dist/index.d.ts')
  })

  test('is what publint wants it to be', async () => {
    expect(await lint(tarball)).toEqual([])
  })

  test('has types that resolve under node16 and under bundlers', { timeout: 30_000 }, async () => {
    await areTheTypesWrong(tarball)
  })

  test('would not pass with types that lead nowhere, or without its main file', { timeout: 30_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'latchkey-broken-'))
    cpSync(join(consumer, 'node_modules/latchkey'), join(folder, 'package'), { recursive: true })
    writeFileSync(join(folder, 'package/dist/index.d.ts'), `export * from './nowhere.js'\n`)
    writeFileSync(join(folder, 'package/dist/index.js'), 'module.exports = {}\n')
    await run('tar', ['-czf', 'broken.tgz', 'package'], folder)

    expect(await lint(join(folder, 'broken.tgz'))).toContain('FILE_INVALID_FORMAT')
    await expect(areTheTypesWrong(join(folder, 'broken.tgz'))).rejects.toThrow(/Internal resolution error/i)
  })
})

describe('a project that installs it', () => {
  const names = Object.keys(source).sort()
  const nodes = nodesOnPath()

  test.each(nodes)('imports exactly what the sources export, in Node $version', async ({ path }) => {
    const script = `import('latchkey').then(module => console.log(JSON.stringify(Object.keys(module).sort())))`
    expect(JSON.parse(await run(path, ['-e', script], consumer))).toEqual(names)
  })

  test.each(nodes)('requires the same from CommonJS, in Node $version', async ({ path }) => {
    const script = `console.log(JSON.stringify(Object.keys(require('latchkey')).sort()))`
    expect(JSON.parse(await run(path, ['-e', script], consumer))).toEqual(names)
  })

  test.each([
    ['NodeNext', ts.ModuleKind.NodeNext, ts.ModuleResolutionKind.NodeNext],
    ['bundler', ts.ModuleKind.ESNext, ts.ModuleResolutionKind.Bundler],
  ])(
    'gets exactly the types of the sources, without @types/node, under %s',
    { timeout: 30_000 },
    (_, module, moduleResolution) => {
      const file = join(consumer, 'consumer.mts')
      writeFileSync(file, `export * from 'latchkey'\n`)
      const strict = { strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: true, types: [] }
      const lib = ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts']
      const installed = ts.createProgram([file], {
        ...strict,
        lib,
        target: ts.ScriptTarget.ES2022,
        module,
        moduleResolution,
      })
      const complaints = ts.getPreEmitDiagnostics(installed)
      expect(complaints.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))).toEqual([])
      expect(exportedNames(installed, file)).toEqual(exportedNames(sources(), join(root, 'src/index.ts')))
    },
  )
})

async function lint(file: string): Promise<string[]> {
  const { buffer, byteOffset, byteLength } = readFileSync(file)
  const { messages } = await publint({
    strict: true,
    pack: { tarball: buffer.slice(byteOffset, byteOffset + byteLength) },
  })
  return messages.map(({ code }) => code)
}

/** ESM only: `require` is served by Node itself, which the profile knows and older CommonJS hosts can't. */
async function areTheTypesWrong(file: string): Promise<void> {
  await run('attw', [file, '--profile', 'esm-only', '--no-definitely-typed', '--format', 'ascii', '--no-color'], root)
}

/** Every Node that the package supports and this machine has; the one of the tests is always among them. */
function nodesOnPath(): { version: string; path: string }[] {
  const found = new Map<string, string>()
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const version = versionOf(join(folder, 'node'))
    if (version && !found.has(version)) found.set(version, realpathSync(join(folder, 'node')))
  }
  return [...found].map(([version, path]) => ({ version, path }))
}

function versionOf(node: string): string | undefined {
  const version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout?.trim().slice(1)
  const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const [major, minor] = engines.node.replace('>=', '').split('.').map(Number)
  const [ownMajor = 0, ownMinor = 0] = (version ?? '').split('.').map(Number)
  return ownMajor > major || (ownMajor === major && ownMinor >= minor) ? version : undefined
}

function sources(): ts.Program {
  const config = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root)
  return ts.createProgram([join(root, 'src/index.ts')], options)
}

function exportedNames(program: ts.Program, file: string): string[] {
  const checker = program.getTypeChecker()
  const module = checker.getSymbolAtLocation(program.getSourceFile(file)!)
  return checker
    .getExportsOfModule(module!)
    .map(({ name }) => name)
    .sort()
}
