import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const page = readFileSync(join(root, 'docs/node.md'), 'utf8')

/** What the recipes use that is not installed here, as far as they use it. */
const foreign = {
  'express.d.ts': `declare module 'express' {
    export interface Request { readonly session: { readonly userId: string } }
    export interface Response { status(code: number): Response; json(body: unknown): Response }
    export type ErrorRequestHandler = (error: unknown, request: Request, response: Response, next: (error?: unknown) => void) => void
    interface Express {
      get(path: string, handler: (request: Request, response: Response) => unknown): Express
      use(handler: ErrorRequestHandler): Express
    }
    export default function express(): Express
  }`,
  'next.d.ts': `declare module 'next/headers' {
    export interface Jar {
      get(name: string): { readonly value: string } | undefined
      set(name: string, value: string, options: { httpOnly?: boolean; secure?: boolean; sameSite?: 'lax' | 'strict' | 'none' }): void
      delete(name: string): void
    }
    export function cookies(): Promise<Jar>
  }`,
  'auth.ts': `import type { Jar } from 'next/headers'
    export declare function userOf(jar: Jar): Promise<string>
    export declare const cookieKey: Uint8Array`,
}

describe('the code of docs/node.md', () => {
  test('compiles, each block by itself', { timeout: 60_000 }, () => {
    expect(blocksOf(page).size).toBeGreaterThan(6)
    expect(complaintsOf(page)).toEqual([])
  })

  test.each([
    ['sessions.for(userId)', 'sessions.of(userId)', /'of' does not exist/],
    ['ttlMs: 30', 'ttl: 30', /'ttl' does not exist/],
    ['sessions.dispose()', 'sessions.close()', /'close' does not exist/],
  ])('would not compile with %s written as %s', { timeout: 60_000 }, (right, wrong, complaint) => {
    expect(page).toContain(right)
    expect(complaintsOf(page.replace(right, wrong)).join('\n')).toMatch(complaint)
  })

  test('has a block for each of Express, Hono and Next', () => {
    const code = [...blocksOf(page).values()].join('\n')
    for (const name of ['express', 'hono', 'next/headers', 'redis']) expect(code).toContain(`from '${name}'`)
  })
})

/** By file name: the one in a block's first line, where others import it. */
function blocksOf(text: string): Map<string, string> {
  const blocks = [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = '']) => code)
  return new Map(blocks.map((code, index) => [/^\/\/ (\S+\.ts)$/m.exec(code)?.[1] ?? `block-${index}.ts`, code]))
}

function complaintsOf(text: string): string[] {
  const blocks = [...blocksOf(text)].map(([name, code]) => [join(root, name), `${code}export {}\n`] as const)
  const files = new Map([
    ...Object.entries(foreign).map(([name, code]) => [join(root, name), code] as const),
    ...blocks,
  ])
  const options = compilerOptions()
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
      .map(({ messageText }) => `${file.slice(root.length)}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`),
  )
}

function compilerOptions(): ts.CompilerOptions {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root)
  return { ...options, noUnusedLocals: false }
}
