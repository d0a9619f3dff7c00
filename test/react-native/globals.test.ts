import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { expect, it } from 'vitest'
import { importsOf } from '../package/floors.ts'

const source = new URL('../../src/', import.meta.url)

/** What React Native lacks, or has since lately only (issue 42042 of react-native and others). */
const missing = {
  names: [
    'DOMException',
    'structuredClone',
    'BroadcastChannel',
    'TextEncoder',
    'TextDecoder',
    'ReadableStream',
    'WeakRef',
    'FinalizationRegistry',
    'SharedWorker',
    'indexedDB',
  ],
  members: [
    'AbortSignal.any',
    'AbortSignal.timeout',
    'Symbol.asyncIterator',
    '*.throwIfAborted',
    '*.subtle',
    '*.locks',
  ],
}

/** The lines that may, each with what makes it safe. */
const allowed: Record<string, string> = {
  'values/outgoing.ts: Symbol.asyncIterator': 'asked for by typeof first',
  'engine/flight.ts: WeakRef': 'runs only where FinalizationRegistry was found, which is as old',
  'engine/flight.ts: FinalizationRegistry': 'asked for by typeof first',
  'session/wiring.ts: *.locks': 'asked for by typeof request first',
  'session/wiring.ts: BroadcastChannel': 'inside try; `degraded` is told where other realms may be',
  'storage/encrypted.ts: *.subtle': 'asked for first, and `misconfigured` without',
  'storage/encrypted.ts: TextEncoder': 'runs only where crypto.subtle was found',
  'storage/encrypted.ts: TextDecoder': 'runs only where crypto.subtle was found',
}

/** Every use at run time in a text, as it is named above; `for await` and async generators too, which Hermes can't compile. */
function uses(file: string, text: string): string[] {
  const found: string[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return
    if (ts.isPropertyAccessExpression(node)) {
      const owner = node.expression.getText()
      for (const member of [`${owner}.${node.name.text}`, `*.${node.name.text}`]) {
        if (missing.members.includes(member)) found.push(member)
      }
      visit(node.expression)
      if (owner === 'globalThis' && missing.names.includes(node.name.text)) found.push(node.name.text)
      return
    }
    if (ts.isBindingElement(node)) {
      const name = `*.${(node.propertyName ?? node.name).getText()}`
      if (missing.members.includes(name)) found.push(name)
    }
    if (ts.isIdentifier(node) && missing.names.includes(node.text) && !isNameOnly(node)) found.push(node.text)
    if (ts.isForOfStatement(node) && node.awaitModifier) found.push('for await')
    if ((ts.isFunctionLike(node) || ts.isFunctionExpression(node)) && isAsyncGenerator(node))
      found.push('async generator')
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true))
  return [...new Set(found)].map(use => `${file}: ${use}`)
}

const isNameOnly = ({ parent }: ts.Identifier) => ts.isPropertyAssignment(parent) || ts.isPropertySignature(parent)

function isAsyncGenerator(node: ts.SignatureDeclaration): boolean {
  const { asteriskToken } = node as { asteriskToken?: ts.Node }
  return !!asteriskToken && !!(ts.getCombinedModifierFlags(node as ts.Declaration) & ts.ModifierFlags.Async)
}

function reachable(...entries: string[]): Map<string, string> {
  const files = new Map<string, string>()
  const visit = (file: string): void => {
    if (files.has(file)) return
    const text = readFileSync(fileURLToPath(new URL(file, source)), 'utf8')
    files.set(file, text)
    for (const { specifier, typeOnly } of importsOf(file, text)) {
      if (!typeOnly && specifier.startsWith('.')) visit(new URL(specifier, `src:/${file}`).pathname.slice(1))
    }
  }
  for (const entry of entries) visit(entry)
  return files
}

it('22 nothing that latchkey and latchkey/react-native reach relies on what Hermes and React Native lack', () => {
  const files = reachable('index.ts', 'react-native.ts')
  expect([...files.keys()]).toContain('engine/renewal.ts')
  const all = [...files].flatMap(([file, text]) => uses(file, text))
  expect(all.filter(use => !(use in allowed))).toEqual([])
  // What is not used any more is not allowed any more.
  expect(Object.keys(allowed).filter(use => !all.includes(use))).toEqual([])
})

it.each([
  ['AbortSignal.any([one, two])', 'AbortSignal.any'],
  ['AbortSignal.timeout(1)', 'AbortSignal.timeout'],
  ['options?.signal?.throwIfAborted()', '*.throwIfAborted'],
  ['throw new DOMException()', 'DOMException'],
  ['globalThis.structuredClone({})', 'structuredClone'],
  ['const { subtle } = crypto', '*.subtle'],
  ['crypto.subtle.digest()', '*.subtle'],
  ['navigator.locks?.request()', '*.locks'],
  ['new BroadcastChannel(name)', 'BroadcastChannel'],
  ['new TextEncoder()', 'TextEncoder'],
  ['value[Symbol.asyncIterator]', 'Symbol.asyncIterator'],
  ['value instanceof ReadableStream', 'ReadableStream'],
  ['new WeakRef(value)', 'WeakRef'],
  ['async function f() { for await (const value of values) value }', 'for await'],
  ['async function* f() {}', 'async generator'],
])('22 the check finds %s', (text, use) => {
  expect(uses('a.ts', text)).toContain(`a.ts: ${use}`)
})

it('22 the check leaves types alone', () => {
  expect(
    uses('a.ts', 'interface A { body: ReadableStream; locks: string }\nconst f = (signal: AbortSignal) => signal'),
  ).toEqual([])
})
