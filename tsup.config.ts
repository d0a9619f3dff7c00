import { defineConfig } from 'tsup'

/** The published entries, by the name of their file in src/: one line each, the same names as in package.json "exports". */
const entries = [
  'index', // latchkey
  'node', // latchkey/node
  'oauth', // latchkey/oauth
  'react-native', // latchkey/react-native
  'redis', // latchkey/redis
]

export default defineConfig({
  entry: Object.fromEntries(entries.map(name => [name, `src/${name}.ts`])),
  format: 'esm',
  // A session has [Symbol.dispose], which the libraries below ESNext don't know: a project with `lib: ["ES2022"]` still compiles.
  dts: { banner: '/// <reference lib="esnext.disposable" />' },
  target: 'es2020',
  platform: 'neutral',
  // Entries share chunks: one SessionError class and one registry of flights, whichever entries an app imports.
  splitting: true,
  treeshake: false,
  clean: true,
})
