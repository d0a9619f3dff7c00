/**
 * The packed tarball on React Native, without a phone: Metro bundles it for ios, android and web, hermesc of the current React Native
 * compiles the bundle, and a Hermes VM runs it. `npm run test:react-native` installs the workspace and starts this.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { packed, root } from '../package/packed.ts'

const workspace = fileURLToPath(new URL('./workspace', import.meta.url))
const modules = join(workspace, 'node_modules')
const require = createRequire(join(workspace, 'package.json'))
/** Globals that React Native 0.88 lacks, or that come as the platform's own elsewhere. */
const lacking = [
  'DOMException',
  'structuredClone',
  'BroadcastChannel',
  'ReadableStream',
  'crypto',
  'process',
  'Buffer',
  'document',
]
const failures: string[] = []

function check(what: string, isTrue: boolean, detail = ''): void {
  console.log(`${isTrue ? 'ok  ' : 'FAIL'} ${what}${detail && `: ${detail}`}`)
  if (!isTrue) failures.push(what)
}

const { consumer } = await packed()
const project = realpathSync(mkdtempSync(join(tmpdir(), 'latchkey-metro-')))
for (const name of ['latchkey', 'ky', 'jwt-decode']) {
  cpSync(realpathSync(join(consumer, 'node_modules', name)), join(project, 'node_modules', name), { recursive: true })
}
writeFileSync(join(project, 'package.json'), '{ "name": "app", "version": "1.0.0" }')
cpSync(join(workspace, 'app.js'), join(project, 'app.js'))
const preset = require.resolve('@react-native/babel-preset')
writeFileSync(join(project, 'babel.config.js'), `module.exports = { presets: [${JSON.stringify(preset)}] }\n`)

interface Bundle {
  file: string
  code: string
}

const small = ['metro-runtime', '@babel/runtime', 'whatwg-fetch', 'abort-controller', 'event-target-shim']

async function bundle(platform: string, packageExports: boolean, entry = 'app.js'): Promise<Bundle> {
  const Metro = require('metro')
  const { getDefaultConfig, mergeConfig } = require('@react-native/metro-config')
  const config = mergeConfig(await getDefaultConfig(project), {
    projectRoot: project,
    // All of them only for the app: Metro looks at each file.
    watchFolders: entry === 'app.js' ? small.map(name => join(modules, name)) : [modules],
    cacheStores: [],
    reporter: { update: () => undefined },
    resolver: {
      nodeModulesPaths: [modules],
      unstable_enablePackageExports: packageExports,
      useWatchman: false,
    },
    serializer: { getPolyfills: () => [], getModulesRunBeforeMainModule: () => [] },
  })
  const out = join(project, `${platform}-${packageExports ? 'exports' : 'main'}.bundle.js`)
  await Metro.runBuild(await Metro.loadConfig({ config: undefined }, config), {
    entry,
    platform,
    dev: false,
    minify: false,
    out,
  })
  return { file: out, code: readFileSync(out, 'utf8') }
}

const started = Date.now()
let ios: Bundle | undefined
for (const packageExports of [true, false]) {
  for (const platform of ['ios', 'android', 'web']) {
    const made = await bundle(platform, packageExports)
    const nodes = made.code.match(/["'](?:node:[\w/]+|fs|path|crypto|http)["']/g) ?? []
    const how = packageExports ? 'exports' : 'main, without package exports'
    check(`Metro bundles for ${platform} by ${how}`, nodes.length === 0, kilobytes(made.code))
    if (platform === 'ios' && packageExports) ios = made
  }
}

cpSync(join(root, 'demo/react-native'), join(project, 'demo'), {
  recursive: true,
  filter: from => !from.includes('node_modules'),
})
for (const platform of ['ios', 'android']) {
  const made = await bundle(platform, true, 'demo/index.js')
  check(`the demo app is bundled for ${platform}`, made.code.includes('20 calls at once'), kilobytes(made.code))
}
// Types are looked up from where a file lies.
const copy = join(workspace, 'demo')
rmSync(copy, { recursive: true, force: true })
cpSync(join(project, 'demo'), copy, { recursive: true })

const types = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', workspace], { encoding: 'utf8' })
check(
  "the adapters and the demo app take the real modules, by the modules' own types",
  types.status === 0,
  types.stdout,
)

const hermesFolder =
  process.platform === 'darwin' ? 'osx-bin' : process.platform === 'win32' ? 'win64-bin' : 'linux64-bin'
const hermesc = join(modules, 'hermes-compiler/hermesc', hermesFolder, 'hermesc')
const compiled = spawnSync(hermesc, ['-O', '-emit-binary', '-out', join(project, 'ios.hbc'), ios!.file], {
  encoding: 'utf8',
})
check(
  'hermesc of React Native 0.88 compiles the bundle',
  compiled.status === 0,
  compiled.status === 0 ? '' : compiled.stderr,
)
const free = [
  ...new Set([...compiled.stderr.matchAll(/the variable "(\w+)" was not declared/g)].map(([, name]) => name!)),
]
check(
  'hermesc finds no global that React Native lacks',
  !free.some(name => lacking.includes(name)),
  free.sort().join(', '),
)

// hermesc only compiles. The newest Hermes that runs outside of an app is 0.12, an older language: the bundle is taken down to ES5 for it.
const babel = require('@babel/core')
const { code } = babel.transformSync(readFileSync(join(workspace, 'prelude.js'), 'utf8') + ios!.code, {
  configFile: false,
  babelrc: false,
  compact: false,
  sourceType: 'script',
  presets: [[require.resolve('@babel/preset-env'), { targets: { ie: '11' }, modules: false }]],
})
const hermes = join(modules, 'hermes-engine-cli', hermesFolder, 'hermes')
const first = start()
check(
  'in a Hermes VM: sign-in, expiry, 20 calls at once, one renewal, secure storage',
  equals(first?.said, [
    ['at first', 'signed-out'],
    ['signed in', 'signed-in'],
    ['call', 200],
    ['20 calls after the expiry', 20],
    ['renewals', 1],
    ['post', 200],
    ['elsewhere, without a token', 401],
    ['aborted', 'AbortError'],
    ['classes', [0]],
  ]),
  first && JSON.stringify(first.said),
)
const second = start(first?.vm)
check(
  'after a restart of the VM: signed in from the stored record, then signed out',
  equals(second?.said, [
    ['after a restart', 'signed-in'],
    ['call', 200],
    ['sign-ins', 1],
    ['signed out', 'signed-out'],
    ['refused', 'signed_out'],
  ]),
  second && JSON.stringify(second.said),
)

console.log(`${failures.length} failed, ${Date.now() - started} ms`)
rmSync(project, { recursive: true, force: true })
process.exit(failures.length ? 1 : 0)

interface Run {
  said: unknown
  vm: unknown
}

function start(vm?: unknown): Run | undefined {
  const file = join(project, 'vm.js')
  writeFileSync(file, `${vm ? `globalThis.vm = ${JSON.stringify(vm)};\n` : ''}${code}`)
  const { stdout, stderr } = spawnSync(hermes, ['-Xmicrotask-queue', file], { encoding: 'utf8', timeout: 60_000 })
  const line = stdout.trim().split('\n').at(-1) ?? ''
  if (line.startsWith('{')) return JSON.parse(line)
  console.log(
    stdout,
    stderr
      .split('\n')
      .filter(part => /error/i.test(part))
      .slice(0, 20)
      .join('\n'),
  )
  return undefined
}

function kilobytes(code: string): string {
  return `${(code.length / 1024).toFixed(0)} kB`
}

function equals(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
