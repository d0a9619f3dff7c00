import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (name: string) => readFileSync(`${root}${name}`, 'utf8')
const [guide, providers] = [read('docs/oauth.md'), read('docs/providers.md')]

describe('docs/oauth.md', () => {
  const blocks = [...guide.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = '']) => code)

  test('its code compiles, each block by itself', { timeout: 60_000 }, () => {
    expect(blocks.length).toBeGreaterThan(4)
    expect(complaintsOf(blocks)).toEqual([])
  })

  test('and would not with an option that does not exist', { timeout: 60_000 }, () => {
    expect(complaintsOf(blocks.map(code => code.replaceAll('redirectUri:', 'redirectUrl:'))).join()).toMatch(
      /'redirectUrl' does not exist/,
    )
  })

  test('names every value that latchkey/oauth exports', async () => {
    const names = Object.keys(await import('latchkey/oauth'))
    expect(names.length).toBeGreaterThan(10)
    expect(names.filter(name => !new RegExp(`\\b${name}\\b`).test(guide))).toEqual([])
  })

  test('the tests that it names are there', () => {
    const files = [...guide.matchAll(/`(test\/[\w./-]+)`/g)].map(([, file = '']) => file)
    expect(files.length).toBeGreaterThan(20)
    expect(files.filter(file => !existsSync(root + file))).toEqual([])
  })
})

describe('docs/providers.md', () => {
  const rowsOf = (title: string) =>
    (title ? (providers.split(`\n## ${title}\n`)[1] ?? '') : providers)
      .split('\n## ')[0]
      ?.split('\n')
      .filter(line => line.startsWith('| ') && !/^\| (provider|---)/.test(line))
      .map(line =>
        line
          .slice(2, -2)
          .split(' | ')
          .map(cell => cell.trim()),
      ) ?? []

  test('what it says to set are options, of the types that they have', { timeout: 60_000 }, () => {
    const snippets = rowsOf('What to set').flatMap(([, text = '']) =>
      [...text.matchAll(/`((?:issuer|parameters|server|renewal): [^`]+)`/g)].map(([, code = '']) => code),
    )
    expect(snippets.length).toBeGreaterThan(6)
    const prelude = `import type { SessionOptions } from 'latchkey'
      import type { AuthorizationCodeOptions } from 'latchkey/oauth'
      const [authorization_endpoint, token_endpoint] = ['https://a.example', 'https://b.example'] as const
      type Options = { [Key in keyof AuthorizationCodeOptions]?: AuthorizationCodeOptions[Key] } & Partial<SessionOptions<void>>
      export const options: Options = `
    expect(complaintsOf(snippets.map(code => `${prelude}{ ${code} }`))).toEqual([])
    expect(complaintsOf([`${prelude}{ parameters: { audience: 1 } }`])).toHaveLength(1)
  })

  test('each fact has its public source, and each source its fact', () => {
    const table = rowsOf('')
    expect(table).toHaveLength(13)
    const bare = table.flatMap(([name, ...facts]) =>
      facts.filter(fact => fact !== '—' && !/\[\d+\]/.test(fact)).map(fact => `${name}: ${fact}`),
    )
    expect(bare).toEqual([])
    const sources = providers.split('\n## Sources\n')[1] ?? ''
    const listed = [...sources.matchAll(/^(\d+)\. <https:\/\/\S+>/gm)].map(([, number]) => Number(number))
    expect(listed).toEqual(Array.from({ length: listed.length }, (_, index) => index + 1))
    const cited = new Set([...providers.matchAll(/\[(\d+)\]/g)].map(([, number]) => Number(number)))
    expect([...cited].sort((a, b) => a - b)).toEqual(listed)
  })
})

/** What TypeScript says about pieces of code, each a module of its own. */
function complaintsOf(blocks: readonly string[]): string[] {
  const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root)
  const host = ts.createCompilerHost(options)
  const files = new Map(blocks.map((code, index) => [`${root}docs-${index}.ts`, `${code}\nexport {}\n`]))
  const { getSourceFile, fileExists } = host
  host.fileExists = file => files.has(file) || fileExists(file)
  host.getSourceFile = (file, ...rest) => {
    const code = files.get(file)
    return code === undefined ? getSourceFile(file, ...rest) : ts.createSourceFile(file, code, ts.ScriptTarget.ES2022)
  }
  const program = ts.createProgram([...files.keys()], { ...options, noUnusedLocals: false }, host)
  return [...files.keys()].flatMap(file =>
    ts
      .getPreEmitDiagnostics(program, program.getSourceFile(file))
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n')),
  )
}
