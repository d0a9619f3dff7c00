import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { breaches, importsOf, type Tree } from './floors.ts'

const source = fileURLToPath(new URL('../../src/', import.meta.url))

describe('the sources', () => {
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' })
    .map(file => file.replaceAll('\\', '/'))
    .filter(file => /\.tsx?$/.test(file))
  const tree = Object.fromEntries(files.map(file => [file, importsOf(file, readFileSync(source + file, 'utf8'))]))

  test('are really read', () => {
    expect(files).toContain('index.ts')
    expect(Object.values(tree).flat().length).toBeGreaterThan(files.length / 2)
  })

  test('import downwards only, in no circle, and nothing from outside but what their folder may', () => {
    expect(breaches(tree)).toEqual([])
  })
})

describe('a breach is found', () => {
  test.each<[string, Record<string, string>, RegExp]>([
    [
      'an import up a floor',
      { 'engine/a.ts': `import '../storage/b.ts'`, 'storage/b.ts': '' },
      /engine\/a\.ts: imports up/,
    ],
    ['one of a type', { 'values/a.ts': `import type { B } from '../ports/b.ts'`, 'ports/b.ts': '' }, /imports up/],
    ['one by re-export', { 'values/a.ts': `export { b } from '../ports/b.ts'`, 'ports/b.ts': '' }, /imports up/],
    [
      'one in a type expression',
      { 'values/a.ts': `type B = import('../ports/b.ts').B`, 'ports/b.ts': '' },
      /imports up/,
    ],
    ['one at run time', { 'values/a.ts': `await import('../ports/b.ts')`, 'ports/b.ts': '' }, /imports up/],
    ['an import of an entry', { 'session/a.ts': `import '../index.ts'`, 'index.ts': '' }, /imports up, index\.ts/],
    ['an import between entries', { 'oauth.ts': `import './index.ts'`, 'index.ts': '' }, /imports sideways, index\.ts/],
    [
      'an import sideways',
      { 'grants/a.ts': `import '../attach/b.ts'`, 'attach/b.ts': '' },
      /grants\/a\.ts: imports sideways/,
    ],
    [
      'a circle',
      { 'engine/a.ts': `import './b.ts'`, 'engine/b.ts': `import './a.ts'` },
      /round, .*a\.ts → .*b\.ts → .*a\.ts/,
    ],
    ['a file that imports itself', { 'engine/a.ts': `import './a.ts'` }, /round, engine\/a\.ts → engine\/a\.ts/],
    [
      'a circle of types',
      { 'ports/a.ts': `import type { B } from './b.ts'`, 'ports/b.ts': `export type { A } from './a.ts'` },
      /imports round/,
    ],
    ['a file that is no entry', { 'helpers.ts': '' }, /helpers\.ts: only the published entries/],
    ['a folder on no floor', { 'utils/a.ts': '' }, /utils\/ stands on no floor/],
    ['an import of nothing', { 'values/a.ts': `import './gone.ts'` }, /there is no \.\/gone\.ts/],
    ['an unknown package', { 'storage/a.ts': `import Redis from 'ioredis'` }, /imports ioredis/],
    ['a package by a name made up at run time', { 'storage/a.ts': 'await import(name)' }, /imports name/],
    [
      'a known package in the wrong folder',
      { 'engine/a.ts': `import ky from 'ky'` },
      /imports ky, and only grants\/ may/,
    ],
    [
      'a way from a session to a client of token endpoints',
      {
        'session/a.ts': `import '../grants/b.ts'`,
        'grants/b.ts': `import './c.ts'`,
        'grants/c.ts': `import ky from 'ky'`,
      },
      /session\/a\.ts: reaches ky by session\/a\.ts → grants\/b\.ts → grants\/c\.ts/,
    ],
    [
      'a way from a portable entry to node:',
      { 'index.ts': `export { file } from './storage/file.ts'`, 'storage/file.ts': `import 'node:fs/promises'` },
      /index\.ts: reaches node:fs\/promises by index\.ts → storage\/file\.ts/,
    ],
    ['even of a type', { 'oauth.ts': `import type { Server } from 'node:http'` }, /oauth\.ts: reaches node:http/],
  ])('%s', (_, sources, message) => {
    const found = breaches(parsed(sources))
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(message)
  })
})

test('what the floors allow is no breach', () => {
  const sound = parsed({
    'index.ts': `export { createSession } from './session/create-session.ts'\nexport { password } from './grants/password.ts'`,
    'node.ts': `export { file } from './storage/file.ts'`,
    'session/create-session.ts': `import '../engine/law.ts'\nimport type { P } from '../grants/password.ts'`,
    'grants/password.ts': `import ky from 'ky'\nimport { own } from './own.ts'`,
    'grants/own.ts': `// import '../session/create-session.ts'\nconst text = "import 'ioredis'"`,
    'storage/file.ts': `import { open } from 'node:fs/promises'\nimport '../values/token-set.ts'`,
    'engine/law.ts': `import '../values/token-set.ts'`,
    'values/token-set.ts': `import { jwtDecode } from 'jwt-decode'`,
  })
  expect(breaches(sound)).toEqual([])
})

function parsed(sources: Record<string, string>): Tree {
  return Object.fromEntries(Object.entries(sources).map(([file, text]) => [file, importsOf(file, text)]))
}
